//! When each sign of use was last seen.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last(Option<Instant>);

/// One for each sign.
#[derive(Debug, Default)]
pub(super) struct Lasts {
    pub(super) session: Last,
    pub(super) input: Last,
    pub(super) output: Last,
    pub(super) forwarded: Last,
    pub(super) cpu: Last,
    pub(super) disk: Last,
    pub(super) gpu: Last,
    pub(super) kernel: Last,
}

impl Last {
    pub(super) fn set(&mut self, then: Instant) {
        self.0 = self.0.max(Some(then));
    }

    pub(super) fn set_if(&mut self, seen: bool, now: Instant) {
        if seen {
            self.set(now);
        }
    }

    /// It was so long ago; before this program began it counts for nothing.
    pub(super) fn set_ago(&mut self, ago: Duration, began: Instant, now: Instant) {
        if let Some(then) = now.checked_sub(ago).filter(|then| *then >= began) {
            self.set(then);
        }
    }

    pub(super) fn seconds(&self, now: Instant) -> Option<u64> {
        self.0.map(|then| now.saturating_duration_since(then).as_secs())
    }
}
