//! Bounds what one connection may have waiting for programs that do not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// What waits in all inboxes of one connection, in bytes.
///
/// russh tells the client on receipt that there is room for more, so a client never stops by itself. Past
/// `slow_above` its socket is read only as fast as programs read, or at a trickle where none does.
#[derive(Debug)]
pub(super) struct Throttle {
    waiting: AtomicU64,
    slow_above: u64,
    limit: u64,
    drained: Notify,
    disk: Arc<Disk>,
}

/// What all connections together have on disk, in bytes.
#[derive(Debug)]
pub(super) struct Disk {
    used: AtomicU64,
    limit: u64,
}

impl Disk {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), limit })
    }

    /// Takes room for `bytes`, if there is.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let taken = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit;
        if !taken {
            self.give(bytes);
        }
        taken
    }

    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Throttle {
    pub(super) fn new(slow_above: u64, limit: u64, disk: Arc<Disk>) -> Arc<Self> {
        Arc::new(Self { waiting: AtomicU64::new(0), slow_above, limit, drained: Notify::new(), disk })
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Counts `bytes` in; false if that is more than may ever wait.
    pub(super) fn add(&self, bytes: usize) -> bool {
        self.waiting.fetch_add(bytes as u64, Ordering::Relaxed) + (bytes as u64) <= self.limit
    }

    /// Counts `bytes` out.
    pub(super) fn remove(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.drained.notify_one();
    }

    pub(super) fn is_slow(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > self.slow_above
    }

    /// Returns when something was drained.
    pub(super) async fn drained(self: Arc<Self>) {
        self.drained.notified().await;
    }
}
