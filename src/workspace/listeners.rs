//! Who gets the connections that a pod's agent accepts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use tokio::sync::mpsc;
use tracing::debug;

use crate::agent::request::{Accepted, Origin};
use crate::carrier::{Incoming, Stream, parse};

/// Connections that may wait for whoever listens; more are refused.
const WAITING: usize = 128;

/// The listeners in one pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners(Arc<Numbered>);

#[derive(Debug, Default)]
struct Numbered {
    next: AtomicU64,
    listening: DashMap<u64, mpsc::Sender<(Origin, Stream)>>,
}

/// What one listener in the pod accepts; refused once this is dropped.
#[derive(Debug)]
pub struct Connections {
    registered: Registered,
    door: Door,
    accepted: mpsc::Receiver<(Origin, Stream)>,
}

/// Leads to whoever has the [`Connections`].
#[derive(Clone, Debug)]
pub(super) struct Door(mpsc::Sender<(Origin, Stream)>);

/// A listener's number, for as long as this is there.
#[derive(Debug)]
pub(super) struct Registered {
    listeners: Listeners,
    number: u64,
}

/// Listens in a pod until it is dropped.
pub struct Listener {
    /// The port; 0 for a socket in the file system.
    pub port: u16,
    connections: Connections,
    /// Its end is the listening's.
    stream: Stream,
}

impl Listeners {
    /// Hands out what the agent accepts, until its carrier ends.
    pub(super) fn serve(mut incoming: Incoming) -> Self {
        let listeners = Self::default();
        let numbered = listeners.0.clone();
        tokio::spawn(async move {
            while let Some((request, stream)) = incoming.recv().await {
                // A pod may ask for what it likes. Dropped, the stream says no.
                let Ok(Accepted { listener, origin }) = parse(&request) else { continue };
                let accepted = numbered.listening.get(&listener).map(|listening| listening.try_send((origin, stream)));
                if !matches!(accepted, Some(Ok(()))) {
                    debug!(listener, "refused a connection that nobody takes");
                }
            }
        });
        listeners
    }

    pub(super) fn register(&self) -> Connections {
        let (sender, accepted) = mpsc::channel(WAITING);
        let door = Door(sender);
        Connections { registered: self.register_for(&door), door, accepted }
    }

    /// What another pod's agent, or the same by another carrier, is to hand to those who listen already.
    pub(super) fn register_for(&self, door: &Door) -> Registered {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.listening.insert(number, door.0.clone());
        Registered { listeners: self.clone(), number }
    }
}

impl Registered {
    /// What the agent knows it by.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Connections {
    /// What the agent knows the listener by.
    pub(super) fn listener(&self) -> u64 {
        self.registered.number
    }

    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }

    /// Who connected, and the connection. Cancel safe.
    pub async fn accept(&mut self) -> Option<(Origin, Stream)> {
        self.accepted.recv().await
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.listeners.0.listening.remove(&self.number);
    }
}

impl Listener {
    pub(super) fn new(port: u16, connections: Connections, stream: Stream) -> Self {
        Self { port, connections, stream }
    }

    /// Who connected, and the connection; none once the pod is gone. Cancel safe.
    pub async fn accept(&mut self) -> Option<(Origin, Stream)> {
        tokio::select! {
            accepted = self.connections.accept() => accepted,
            _ = self.stream.receiver.receive() => None,
        }
    }
}
