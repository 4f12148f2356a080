//! What sessions and forwards do, counted where it happens.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// All since the beginning.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) sessions: Total,
    /// Bytes, as those below.
    pub(super) typed: Total,
    pub(super) sent: Total,
    pub(super) written: Total,
    pub(super) forwarded: Total,
    pub(super) programs: AtomicU32,
    pub(super) forwards: AtomicU32,
}

#[derive(Default)]
pub(super) struct Total(AtomicU64);

impl Total {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that is counted for as long as this lives.
pub(in crate::agent) struct Counted(&'static AtomicU32);

impl Counted {
    pub(super) fn one(count: &'static AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
