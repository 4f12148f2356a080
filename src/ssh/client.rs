//! Whose connection one is, and what it may yet have open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
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

/// What one connection may yet have open.
#[derive(Clone)]
pub(super) struct Slots {
    sessions: Arc<Semaphore>,
    forwards: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    pub(super) closing: Arc<Closing>,
    max_sessions: u32,
    max_forwards: u32,
    freed: Arc<Notify>,
}

/// The right to have one of them open, until dropped.
pub(super) struct Slot {
    _of_connection: OwnedSemaphorePermit,
    _of_user: OwnedSemaphorePermit,
    /// The last to be dropped: whoever hears it looks at the others.
    _freed: Rings,
}

/// Tells when it is dropped.
struct Rings(Arc<Notify>);

impl Drop for Rings {
    fn drop(&mut self) {
        self.0.notify_waiters();
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
            freed: Arc::default(),
        }
    }

    /// Room for one more session, if there is one left and her allowance has one too.
    pub(super) fn session(&self, hers: &Allowance) -> Option<Slot> {
        self.take(&self.sessions, hers)
    }

    /// Room for one more forwarded connection.
    pub(super) fn forward(&self, hers: &Allowance) -> Option<Slot> {
        self.take(&self.forwards, hers)
    }

    fn take(&self, slots: &Arc<Semaphore>, hers: &Allowance) -> Option<Slot> {
        if self.closing.is_worn_out() {
            return None;
        }
        let take = |slots: &Arc<Semaphore>| slots.clone().try_acquire_owned().ok();
        // Before the others, so that it is dropped after them where there is only one of them.
        let freed = Rings(self.freed.clone());
        let (of_connection, of_user) = (take(slots)?, take(&hers.channels)?);
        Some(Slot { _of_connection: of_connection, _of_user: of_user, _freed: freed })
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

    /// Waits until no session is open.
    pub(super) async fn no_session(&self) {
        self.until(Self::is_free_of_sessions).await;
    }

    /// Who asks for permits takes them while he waits for the last, and nothing new could be opened beside what is
    /// still open; so this only looks, whenever one is given back.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            // Hears of what is given back from here on.
            let freed = self.freed.notified();
            if is_so(self) {
                return;
            }
            freed.await;
        }
    }

    /// Waits until nothing is open and, `later`, still nothing: OpenSSH reports 255 if it reads a good-bye together
    /// with an exit status, and left alone goes by itself. While the permits are kept nothing new is opened.
    pub(super) async fn all_free(&self, later: Duration) -> [SemaphorePermit<'_>; 2] {
        loop {
            self.until(Self::is_free).await;
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
    use tokio::time::timeout;

    use super::super::Config;
    use super::super::allowance::Allowances;
    use super::super::tests::config;
    use super::*;

    const LATER: Duration = Duration::from_millis(20);
    /// Longer than anything here takes, and the end of what hangs.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn slots() -> (Slots, Arc<Allowance>) {
        (Slots::new(4, 4), Allowances::new(&config()).of("alice"))
    }

    #[test]
    fn what_listens_is_in_use_and_does_not_keep_a_drain_waiting() {
        let (slots, alice) = slots();
        assert!(slots.is_idle());
        let listens = slots.listens();
        assert!(!slots.is_idle() && slots.is_free());
        drop(listens);
        assert!(slots.is_idle());
        let _forward = slots.forward(&alice).unwrap();
        assert!(!slots.is_idle());
    }

    #[tokio::test]
    async fn a_session_that_begins_while_a_forward_ends_is_waited_for() {
        let (slots, alice) = slots();
        let forward = slots.forward(&alice).unwrap();
        let all_free = slots.all_free(LATER);
        tokio::pin!(all_free);
        assert!(all_free.as_mut().now_or_never().is_none(), "a forward is open");
        let session = slots.session(&alice).unwrap();
        drop(forward);
        assert!(all_free.as_mut().now_or_never().is_none(), "a session is open");
        drop(session);
        assert!(all_free.as_mut().now_or_never().is_none(), "it waits for last words");
        let session = slots.session(&alice).unwrap();
        sleep(2 * LATER).await;
        assert!(all_free.as_mut().now_or_never().is_none(), "a session is open");
        drop(session);
        let _permits = timeout(PATIENCE, all_free).await.expect("nothing is open");
        assert!(slots.session(&alice).is_none() && slots.forward(&alice).is_none());
    }

    #[tokio::test]
    async fn while_one_is_open_others_may_be_opened() {
        let (slots, alice) = slots();
        let (session, forward) = (slots.session(&alice).unwrap(), slots.forward(&alice).unwrap());
        let (all_free, no_session) = (slots.all_free(LATER), slots.no_session());
        tokio::pin!(all_free, no_session);
        assert!(all_free.as_mut().now_or_never().is_none() && no_session.as_mut().now_or_never().is_none());
        assert!(slots.session(&alice).is_some() && slots.forward(&alice).is_some());
        drop(session);
        timeout(PATIENCE, no_session).await.expect("no session is open");
        assert!(all_free.as_mut().now_or_never().is_none());
        assert!(slots.session(&alice).is_some() && slots.forward(&alice).is_some());
        drop(forward);
        let _permits = timeout(PATIENCE, all_free).await.expect("nothing is open");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_end_is_missed() {
        let allowances = Allowances::new(&Config { max_channels_per_user: 1, ..config() });
        let (slots, alice) = (Slots::new(4, 4), allowances.of("alice"));
        for _ in 0..2_000 {
            let session = slots.session(&alice).unwrap();
            let (beside, hers) = (slots.clone(), alice.clone());
            let ends = tokio::spawn(async move {
                assert!(beside.session(&hers).is_none());
                drop(session);
            });
            timeout(PATIENCE, slots.no_session()).await.expect("it is heard");
            ends.await.unwrap();
        }
    }
}
