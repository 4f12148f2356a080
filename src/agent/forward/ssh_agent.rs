//! A socket in the pod that stands for the ssh-agent of whoever forwards hers: of the newest who does.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::AbortOnDropHandle;

use super::listen::{PrivateFolder, accept, bind_unix};
use crate::carrier::Carrier;

/// Where a socket can stand for a user's ssh-agent.
pub(in crate::agent) struct SshAgentSocket {
    folder: PrivateFolder,
    led: Arc<Mutex<Led>>,
}

/// The socket leads to somebody until this is dropped, and then to who did before.
pub(in crate::agent) struct Lending {
    led: Arc<Mutex<Led>>,
    own: Arc<Lead>,
}

/// There is no socket while it leads to nobody.
#[derive(Default)]
struct Led {
    to: Vec<Arc<Lead>>,
    accepting: Option<AbortOnDropHandle<()>>,
}

/// Who gets what connects.
struct Lead {
    listener: u64,
    carrier: Carrier,
}

impl SshAgentSocket {
    pub(in crate::agent) fn new() -> io::Result<Self> {
        Ok(Self { folder: PrivateFolder::new()?, led: Arc::default() })
    }

    /// For `SSH_AUTH_SOCK`.
    pub(in crate::agent) fn path(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// Hands who connects there to `listener`.
    pub(in crate::agent) fn lead(&self, listener: u64, carrier: &Carrier) -> io::Result<Lending> {
        let mut led = lock(&self.led);
        if led.accepting.is_none() {
            // That of whoever just left may not be gone yet.
            let _ = std::fs::remove_file(self.path());
            let socket = bind_unix(&self.path())?;
            let leads = self.led.clone();
            let newest = move || lock(&leads).to.last().map(|lead| (lead.listener, lead.carrier.clone()));
            led.accepting = Some(AbortOnDropHandle::new(tokio::spawn(accept(socket, newest))));
        }
        let own = Arc::new(Lead { listener, carrier: carrier.clone() });
        led.to.push(own.clone());
        Ok(Lending { led: self.led.clone(), own })
    }
}

impl Drop for Lending {
    fn drop(&mut self) {
        let mut led = lock(&self.led);
        led.to.retain(|lead| !Arc::ptr_eq(lead, &self.own));
        if led.to.is_empty() {
            led.accepting = None;
        }
    }
}

impl Drop for SshAgentSocket {
    fn drop(&mut self) {
        // The task that accepts holds what it looks into.
        lock(&self.led).accepting = None;
    }
}

fn lock(led: &Mutex<Led>) -> MutexGuard<'_, Led> {
    led.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use bytes::Bytes;
    use futures::StreamExt;
    use futures::channel::mpsc;
    use tokio::net::UnixStream;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::agent::request::Accepted;
    use crate::carrier::{Incoming, Keepalive, Link, Side, accept, parse};

    /// An agent's carrier, and what its bastion is asked.
    fn linked() -> (Carrier, Incoming) {
        let [(bastion, incoming), (agent, _)] =
            [Side::Bastion, Side::Agent].map(|side| Carrier::new(side, "one".into()));
        let (to_agent, from_bastion) = mpsc::channel::<Bytes>(2);
        let (to_bastion, from_agent) = mpsc::channel::<Bytes>(2);
        let agents = agent.clone();
        tokio::spawn(async move {
            let mut source = from_bastion.map(Ok::<_, Infallible>);
            let accepted = accept(&mut source).await.unwrap();
            agents.accepted(Link { source, sink: to_bastion }, accepted).await
        });
        let keepalive = Keepalive { ping: Duration::from_secs(60), patience: 3, grace: Duration::ZERO };
        let link = Link { source: from_agent.map(Ok::<_, Infallible>), sink: to_agent };
        tokio::spawn(async move { bastion.link(link, keepalive, |_| {}).await });
        (agent, incoming)
    }

    /// Whoever took a shell over, while the one before still held the path, had no agent in it.
    #[tokio::test]
    async fn the_newest_who_forwards_hers_is_asked_and_then_the_one_before() {
        let (carrier, mut incoming) = linked();
        let socket = SshAgentSocket::new().unwrap();
        let first = socket.lead(1, &carrier).unwrap();
        let second = socket.lead(2, &carrier).unwrap();
        let mut asked = async || {
            let _connection = UnixStream::connect(socket.path()).await.unwrap();
            let (request, _stream) = timeout(Duration::from_secs(20), incoming.recv()).await.unwrap().unwrap();
            parse::<Accepted>(&request).unwrap().listener
        };
        assert_eq!(asked().await, 2);
        drop(second);
        assert_eq!(asked().await, 1);
        drop(first);
        // At once, while the task of before still winds up.
        let third = socket.lead(3, &carrier).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(asked().await, 3);
        drop(third);
        let gone = async {
            while socket.path().exists() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), gone).await.unwrap();
    }
}
