//! Connections that somebody in the pod opens to the client (`-A`, `-X`, and `-R` once it listens).

use futures::FutureExt;
use russh::Channel;
use russh::server::{Handle, Msg};
use tracing::{Instrument, Span, debug, info};

use super::copy;
use crate::carrier::Stream;
use crate::ssh::logged_in::LoggedIn;
use crate::telemetry::chain;
use crate::workspace::{Connections, Origin};

/// Brings programs that ask for the user's ssh-agent to it, until the session ends.
pub(in crate::ssh) async fn serve_ssh_agent(mut connections: Connections, logged_in: LoggedIn, client: Handle) {
    while let Some((_, stream)) = connections.accept().await {
        let client = client.clone();
        logged_in.hand_over(stream, async move { client.channel_open_agent().await });
    }
}

/// Brings programs that ask for the user's display to it, until the session ends.
pub(in crate::ssh) async fn serve_x11(mut connections: Connections, logged_in: LoggedIn, client: Handle) {
    while let Some((Origin { host, port }, stream)) = connections.accept().await {
        let client = client.clone();
        logged_in.hand_over(stream, async move { client.channel_open_x11(host, port.into()).await });
    }
}

impl LoggedIn {
    /// Copies `stream` to the channel that `open` opens, in a task of its own.
    pub(super) fn hand_over(
        &self,
        stream: Stream,
        open: impl Future<Output = Result<Channel<Msg>, russh::Error>> + Send + 'static,
    ) {
        let Some(slot) = self.slot() else {
            let user = self.identity.user();
            return info!(
                user,
                "refused a connection to a client: its user or connection has or had too many channels open"
            );
        };
        let logged_in = self.clone();
        let serve = async move {
            match open.await {
                Ok(channel) => {
                    debug!(user = logged_in.identity.user(), "forwarding a connection to the client");
                    copy(channel, stream, &logged_in, slot, logged_in.standing.ended().map(drop)).await;
                }
                Err(error) => debug!(error = chain(&error), "the client does not take a connection"),
            }
        };
        self.context.tasks.spawn(serve.instrument(Span::current()));
    }
}
