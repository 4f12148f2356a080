//! What all carriers of a process may keep in memory together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A carrier that keeps less than this part of it need not care how much others keep.
const PARTS: usize = 16;

/// Bounds the bytes that wait, for their readers or for the other side. A stream's window bounds what one of them may
/// have; of streams there are many.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    kept: AtomicUsize,
}

/// What one carrier keeps of it.
#[derive(Debug, Default)]
pub(super) struct Share {
    budget: Arc<Budget>,
    kept: AtomicUsize,
}

impl Budget {
    /// Of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, kept: AtomicUsize::new(0) })
    }
}

impl Default for Budget {
    /// Without bounds.
    fn default() -> Self {
        Self { limit: usize::MAX, kept: AtomicUsize::new(0) }
    }
}

impl Share {
    pub(super) fn of(budget: Arc<Budget>) -> Self {
        Self { budget, kept: AtomicUsize::new(0) }
    }

    pub(super) fn keep(&self, bytes: usize) {
        self.kept.fetch_add(bytes, Ordering::Relaxed);
        self.budget.kept.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give(&self, bytes: usize) {
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.kept.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Whether what is kept should hold nothing but itself: what was read with it counts for nobody.
    pub(super) fn is_scarce(&self) -> bool {
        self.budget.kept.load(Ordering::Relaxed) > self.budget.limit / 2
    }

    /// Whether this carrier has to do with less.
    pub(super) fn is_exceeded(&self) -> bool {
        self.budget.kept.load(Ordering::Relaxed) > self.budget.limit
            && self.kept.load(Ordering::Relaxed) > self.budget.limit / PARTS
    }
}
