//! What all carriers of a process may keep in memory together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::frame::MAX_DATA;

/// A carrier that keeps less than this part of it need not care how much others keep.
const PARTS: usize = 16;
/// What each stream may have of it however much others keep, in bytes: no piece of data is more.
pub(super) const FLOOR: usize = MAX_DATA;
/// The same where one carrier has so many streams that all these would be too much.
pub(super) const LOWEST_FLOOR: usize = 2 * 1024;

/// What a terminal may have, of which there are few: as much is under way to it.
pub(super) const TERMINAL_FLOOR: usize = 4 * FLOOR;

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

    /// What a terminal may have; no more than other streams if there are so many terminals that it would be too much.
    pub(super) fn terminal_floor(&self, streams: usize, terminals: usize) -> Option<usize> {
        let are_few = terminals.saturating_mul(TERMINAL_FLOOR) <= self.budget.limit / PARTS;
        self.floor(streams).map(|floor| if are_few { TERMINAL_FLOOR } else { floor })
    }

    /// What each of this carrier's streams may have, of which there are so many; none unless the carrier has to do with
    /// less.
    pub(super) fn floor(&self, streams: usize) -> Option<usize> {
        let (limit, part) = (self.budget.limit, self.budget.limit / PARTS);
        let is_exceeded = self.budget.kept.load(Ordering::Relaxed) > limit && self.kept.load(Ordering::Relaxed) > part;
        is_exceeded.then(|| (part / streams.max(1)).clamp(LOWEST_FLOOR, FLOOR))
    }
}
