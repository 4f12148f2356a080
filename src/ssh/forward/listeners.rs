//! Where the pod listens for a client (`-R`).

use std::collections::HashMap;
use std::time::Duration;

use russh::server::Handle;
use tokio::time::timeout;
use tracing::info;

use super::{Forwarder, Listening};
use crate::workspace::Address;

/// The listeners of one connection, by what the client asked for.
#[derive(Default)]
pub(in crate::ssh) struct Listeners(HashMap<Address, Listening>);

/// How long a client that asks the pod to listen is kept waiting, and its other channels with it: russh wants the answer
/// at once, and the port may be the pod's choice.
const PATIENCE: Duration = Duration::from_secs(30);

impl Listeners {
    /// Has the pod listen for the client; the port, if it does.
    pub(in crate::ssh) async fn begin(
        &mut self,
        forwarder: Forwarder,
        address: Address,
        client: Handle,
    ) -> Option<u16> {
        if self.0.len() >= forwarder.context.config.max_sessions {
            return None;
        }
        let listening = match timeout(PATIENCE, Listening::begin(forwarder, address.clone(), client)).await {
            Ok(Ok(listening)) => listening,
            Ok(Err(error)) => {
                info!(error = &error as &dyn std::error::Error, ?address, "the pod does not listen");
                return None;
            }
            Err(_) => {
                info!(?address, "the pod was not ready in time to listen");
                return None;
            }
        };
        let port = listening.port;
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
