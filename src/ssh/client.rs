//! Whose connection one is, and what it may yet have open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::allowance::Allowance;
use super::closing::Closing;
use super::standing::Standing;
use crate::workspace::Target;

/// Whose connection another one is within, and where that one leads.
#[derive(Clone)]
pub(super) struct Outer {
    pub(super) user: String,
    pub(super) target: Target,
    /// How many connections there are around it.
    pub(super) depth: usize,
    pub(super) standing: Standing,
}

/// Whose connection it is.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    /// Where it reached us.
    pub(super) server: SocketAddr,
    /// The connection that this one is within.
    pub(super) outer: Option<Outer>,
    /// It had to go before anybody was logged in, for others to get in.
    pub(super) gave_way: CancellationToken,
}

/// While a connection is to end that is in use.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What one connection may yet have open.
#[derive(Clone)]
pub(super) struct Slots {
    pub(super) sessions: Arc<Semaphore>,
    pub(super) forwards: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    pub(super) closing: Arc<Closing>,
    max_sessions: u32,
    max_forwards: u32,
}

/// The right to have one of them open, until dropped.
pub(super) struct Slot {
    _of_connection: OwnedSemaphorePermit,
    _of_user: OwnedSemaphorePermit,
}

impl Slot {
    /// One of `slots`, if there is one left and her allowance has one too.
    pub(super) fn take(slots: &Arc<Semaphore>, hers: &Allowance) -> Option<Self> {
        let take = |slots: &Arc<Semaphore>| slots.clone().try_acquire_owned().ok();
        Some(Self { _of_connection: take(slots)?, _of_user: take(&hers.channels)? })
    }
}

impl Slots {
    pub(super) fn new(max_sessions: usize, max_forwards: usize) -> Self {
        let permits = |max| Arc::new(Semaphore::new(max));
        Self {
            sessions: permits(max_sessions),
            forwards: permits(max_forwards),
            listeners: permits(max_sessions),
            closing: Arc::default(),
            max_sessions: max_sessions as u32,
            max_forwards: max_forwards as u32,
        }
    }

    /// To be kept by what listens in the pod, for as long as it does.
    pub(super) fn listens(&self) -> Option<OwnedSemaphorePermit> {
        self.listeners.clone().try_acquire_owned().ok()
    }

    /// Whether nothing runs on the connection, and nothing listens for it.
    pub(super) fn is_idle(&self) -> bool {
        self.is_free() && self.listeners.available_permits() == self.max_sessions as usize
    }

    fn is_free_of_sessions(&self) -> bool {
        self.sessions.available_permits() == self.max_sessions as usize
    }

    fn is_free(&self) -> bool {
        self.is_free_of_sessions() && self.forwards.available_permits() == self.max_forwards as usize
    }

    /// Waits until no session is open. Who asks for permits takes them while he waits for the last, and nothing new could
    /// be opened beside what is still open; so this looks again and again.
    pub(super) async fn no_session(&self) {
        while !self.is_free_of_sessions() {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until nothing is open and, `later`, still nothing: OpenSSH reports 255 if it reads a good-bye together with an
    /// exit status, and left alone goes by itself. While the permits are kept nothing new is opened.
    pub(super) async fn all_free(&self, later: Duration) -> [SemaphorePermit<'_>; 2] {
        loop {
            while !self.is_free() {
                sleep(LOOK_AGAIN).await;
            }
            sleep(later).await;
            let sessions = self.sessions.try_acquire_many(self.max_sessions);
            if let (Ok(sessions), Ok(forwards)) = (sessions, self.forwards.try_acquire_many(self.max_forwards)) {
                return [sessions, forwards];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const LATER: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_session_that_begins_while_a_forward_ends_is_waited_for() {
        let slots = Slots::new(4, 4);
        let forward = slots.forwards.clone().try_acquire_owned().unwrap();
        let all_free = slots.all_free(LATER);
        tokio::pin!(all_free);
        assert!(all_free.as_mut().now_or_never().is_none(), "a forward is open");
        let session = slots.sessions.clone().try_acquire_owned().unwrap();
        drop(forward);
        assert!(all_free.as_mut().now_or_never().is_none(), "it waits for last words");
        sleep(2 * LATER).await;
        assert!(all_free.as_mut().now_or_never().is_none(), "a session is open");
        drop(session);
        let _permits = all_free.await;
        assert!(slots.sessions.try_acquire().is_err() && slots.forwards.try_acquire().is_err());
    }

    #[test]
    fn what_listens_is_in_use_and_does_not_keep_a_drain_waiting() {
        let slots = Slots::new(4, 4);
        assert!(slots.is_idle());
        let listens = slots.listens();
        assert!(!slots.is_idle() && slots.is_free());
        drop(listens);
        assert!(slots.is_idle());
        let _forward = slots.forwards.try_acquire().unwrap();
        assert!(!slots.is_idle());
    }

    #[tokio::test]
    async fn while_one_is_open_others_may_be_opened() {
        let slots = Slots::new(4, 4);
        let session = slots.sessions.clone().try_acquire_owned().unwrap();
        let forward = slots.forwards.clone().try_acquire_owned().unwrap();
        let (all_free, no_session) = (slots.all_free(LATER), slots.no_session());
        tokio::pin!(all_free, no_session);
        assert!(all_free.as_mut().now_or_never().is_none() && no_session.as_mut().now_or_never().is_none());
        assert!(slots.sessions.try_acquire().is_ok() && slots.forwards.try_acquire().is_ok());
        drop(session);
        no_session.await;
        assert!(all_free.as_mut().now_or_never().is_none());
        assert!(slots.sessions.try_acquire().is_ok() && slots.forwards.try_acquire().is_ok());
        drop(forward);
        let _permits = all_free.await;
    }
}
