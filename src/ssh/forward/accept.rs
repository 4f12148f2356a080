//! Connections that somebody in the pod opens to the client (`-R`, `-A`, `-X`).

use futures::FutureExt;
use russh::Channel;
use russh::server::{Handle, Msg};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, debug};

use super::{Forwarder, copy};
use crate::carrier::Stream;
use crate::workspace::{Address, Connections, Error, Listener, Origin};

/// Listens in the pod on the client's behalf until it is dropped.
pub(super) struct Listening {
    /// The port; 0 for a socket in the file system.
    pub(super) port: u16,
    _accepting: AbortOnDropHandle<()>,
}

impl Listening {
    /// Listens at `address`; what connects there is handed to `client`.
    pub(super) async fn begin(forwarder: Forwarder, address: Address, client: Handle) -> Result<Self, Error> {
        let Forwarder { context, identity, target, .. } = &forwarder;
        let mut listener: Listener = context.run.listen(identity, target, &address).await?;
        let port = listener.port;
        let accepting = async move {
            while let Some((origin, stream)) = listener.accept().await {
                forwarder.hand_over(stream, open(client.clone(), address.clone(), port, origin));
            }
        };
        Ok(Self { port, _accepting: AbortOnDropHandle::new(tokio::spawn(accepting.in_current_span())) })
    }
}

/// Brings programs that ask for the user's ssh-agent to it, until the session ends.
pub(in crate::ssh) async fn serve_ssh_agent(mut connections: Connections, forwarder: Forwarder, client: Handle) {
    while let Some((_, stream)) = connections.accept().await {
        let client = client.clone();
        forwarder.hand_over(stream, async move { client.channel_open_agent().await });
    }
}

/// Brings programs that ask for the user's display to it, until the session ends.
pub(in crate::ssh) async fn serve_x11(mut connections: Connections, forwarder: Forwarder, client: Handle) {
    while let Some((Origin { host, port }, stream)) = connections.accept().await {
        let client = client.clone();
        forwarder.hand_over(stream, async move { client.channel_open_x11(host, port.into()).await });
    }
}

/// Opens the channel by which the client hears of a connection. It knows the listener by the address that it asked for.
async fn open(client: Handle, address: Address, port: u16, origin: Origin) -> Result<Channel<Msg>, russh::Error> {
    match address {
        Address::Tcp { host, .. } => {
            client.channel_open_forwarded_tcpip(host, port.into(), origin.host, origin.port.into()).await
        }
        Address::Unix(path) => client.channel_open_forwarded_streamlocal(path).await,
    }
}

impl Forwarder {
    /// Copies `stream` to the channel that `open` opens, in a task of its own.
    fn hand_over(
        &self,
        stream: Stream,
        open: impl Future<Output = Result<Channel<Msg>, russh::Error>> + Send + 'static,
    ) {
        let Some(slot) = self.slot() else {
            return debug!("refused a connection: too many are forwarded");
        };
        let (inbox, standing) = (self.inbox(), self.standing.clone());
        let serve = async move {
            let _slot = slot;
            match open.await {
                Ok(channel) => copy(channel, stream, inbox, standing.ended().map(drop)).await,
                Err(error) => debug!(%error, "the client does not take a connection"),
            }
        };
        self.context.tasks.spawn(serve.instrument(Span::current()));
    }
}
