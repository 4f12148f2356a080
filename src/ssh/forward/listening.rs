//! One listener in the pod (`-R`), which outlives the pod.

use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{Channel, Disconnect};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info};

use crate::ssh::logged_in::LoggedIn;
use crate::telemetry::chain;
use crate::workspace::{Address, Error, Listener, Origin};

/// Listens in the pod on the client's behalf until it is dropped, in the next pod too.
pub(super) struct Listening {
    /// To be cancelled once the client was told that it listens.
    pub(super) promised: CancellationToken,
    _keeping: AbortOnDropHandle<()>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Asking,
    /// For the pod, which may take minutes.
    Waiting,
    /// At this port; 0 for a socket in the file system.
    At(u16),
    Failed,
}

/// Between attempts to listen in a pod that runs: at first, and at most. What is known of pods may be a moment old.
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// So often it may fail: some ten minutes, beside the time that the DevServer sleeps.
const MAX_FAILURES: u32 = 24;

impl Listening {
    /// Listens at `address`; what connects there is handed to `client`.
    pub(super) fn begin(logged_in: LoggedIn, address: Address, client: Handle) -> (Self, watch::Receiver<State>) {
        let (state, states) = watch::channel(State::Asking);
        let promised = CancellationToken::new();
        let keeping = keep(logged_in, address, client, state, promised.clone()).in_current_span();
        (Self { promised, _keeping: AbortOnDropHandle::new(tokio::spawn(keeping)) }, states)
    }
}

async fn keep(
    logged_in: LoggedIn,
    mut address: Address,
    client: Handle,
    state: watch::Sender<State>,
    promised: CancellationToken,
) {
    let asked = address.clone();
    let waits = |_: &str| {
        state.send_replace(State::Waiting);
    };
    let LoggedIn { context, identity, target, .. } = &logged_in;
    let mut listener = match context.run.listen(identity, target, &address, &waits).await {
        Ok(listener) => listener,
        Err(error) => {
            info!(error = chain(&error), ?address, "the pod does not listen");
            state.send_replace(State::Failed);
            if promised.is_cancelled() {
                give_up(&logged_in, &client, &error).await;
            }
            return;
        }
    };
    if let Address::Tcp { port, .. } = &mut address {
        *port = listener.port;
    }
    state.send_replace(State::At(listener.port));
    info!(user = identity.user(), ?address, "the pod listens for a client");
    loop {
        let listens = logged_in.slots.listens();
        let port = listener.port;
        while let Some((origin, stream)) = listener.accept().await {
            logged_in.hand_over(stream, open(client.clone(), asked.clone(), port, origin));
        }
        drop(listens);
        info!(?address, "the pod is gone that listened for a client; its next one will");
        listener = match again(&logged_in, &address).await {
            Ok(listener) => listener,
            Err(error) => return give_up(&logged_in, &client, &error).await,
        };
        info!(?address, "the pod listens again");
    }
}

/// Listens again once there is a pod, however often it takes, but not for ever.
async fn again(logged_in: &LoggedIn, address: &Address) -> Result<Listener, Error> {
    let LoggedIn { context, identity, target, .. } = logged_in;
    let (mut backoff, mut failures) = (BACKOFF, 0);
    loop {
        sleep(backoff).await;
        let error = match context.run.listen_again(identity, target, address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        info!(error = chain(&error), ?address, "the pod does not listen again");
        failures += 1;
        if failures == MAX_FAILURES {
            return Err(error);
        }
        backoff = (2 * backoff).min(MAX_BACKOFF);
    }
}

/// A client that runs nothing and only waits for connections is told, and may then connect anew. One that is in use is
/// left alone.
async fn give_up(logged_in: &LoggedIn, client: &Handle, error: &Error) {
    info!(error = chain(error), "gave up listening for a client");
    if logged_in.slots.is_idle() {
        let why = format!("the pod does not listen for you: {}", error.user_message());
        let _ = client.disconnect(Disconnect::ByApplication, why, "en".into()).await;
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
