//! Where the pod listens for a client (`-R`).

use std::collections::HashMap;
use std::time::Duration;

use russh::server::Handle;
use tokio::time::timeout;
use tracing::info;

use super::{Listening, State};
use crate::ssh::logged_in::LoggedIn;
use crate::workspace::Address;

/// The listeners of one connection, by what the client asked for.
#[derive(Default)]
pub(in crate::ssh) struct Listeners(HashMap<Address, Listening>);

/// How long a client that asks the pod to listen is kept waiting, and its other channels and signs of life with it:
/// russh wants the answer at once. OpenSSH with ServerAliveInterval=5 puts up with it.
const PATIENCE: Duration = Duration::from_secs(15);

impl Listeners {
    /// Has the pod listen for the client; the port, if it does. Where the pod has yet to be made or woken and the port
    /// is known, that is the answer, and it listens as soon as it can. A port of the pod's choice has to be waited for.
    pub(in crate::ssh) async fn begin(&mut self, logged_in: LoggedIn, address: Address, client: Handle) -> Option<u16> {
        let user = logged_in.identity.user().to_owned();
        if self.0.len() >= logged_in.context.config.max_sessions {
            info!(user, ?address, "refused to listen: the connection has max_sessions listeners");
            return None;
        }
        let known = match address {
            Address::Tcp { port: 0, .. } => None,
            Address::Tcp { port, .. } => Some(port),
            Address::Unix(_) => Some(0),
        };
        let (listening, mut states) = Listening::begin(logged_in, address.clone(), client);
        let is_answer = |state: &State| match state {
            State::Asking => false,
            State::Waiting => known.is_some(),
            State::At(_) | State::Failed => true,
        };
        let state = timeout(PATIENCE, states.wait_for(is_answer)).await.map(|state| state.map(|state| *state));
        let port = match state {
            Ok(Ok(State::At(port))) => Some(port),
            Ok(Ok(State::Failed) | Err(_)) => None,
            Ok(Ok(State::Asking | State::Waiting)) | Err(_) => known,
        };
        let Some(port) = port else {
            info!(user, ?address, "refused to listen: the pod does not, or was not ready in time to choose a port");
            return None;
        };
        listening.promised.cancel();
        let asked = match address {
            Address::Tcp { host, .. } => Address::Tcp { host, port },
            address => address,
        };
        self.0.insert(asked, listening);
        Some(port)
    }

    /// Ends one; false if there is none.
    pub(in crate::ssh) fn end(&mut self, address: &Address) -> bool {
        self.0.remove(address).is_some()
    }
}
