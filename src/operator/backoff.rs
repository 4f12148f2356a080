//! Pauses between attempts at one thing, longer each time.

use std::hash::Hash;
use std::time::Duration;

use dashmap::DashMap;

/// How often each thing failed in a row.
pub(super) struct Backoff<K: Eq + Hash> {
    failures: DashMap<K, u32>,
}

impl<K: Eq + Hash> Backoff<K> {
    pub(super) fn new() -> Self {
        Self { failures: DashMap::new() }
    }

    /// Counts a failure and tells how long to wait after it.
    pub(super) fn after_failure(&self, key: K) -> Duration {
        let mut failures = self.failures.entry(key).or_insert(0);
        let pause = doubled(FIRST, LAST, *failures);
        *failures += 1;
        pause
    }

    pub(super) fn retain(&self, keep: impl Fn(&K) -> bool) {
        self.failures.retain(|key, _| keep(key));
    }

    /// It worked, or it is gone.
    pub(super) fn forget(&self, key: &K) {
        self.failures.remove(key);
    }
}

/// `first`, doubled `times` times, but no more than `last`.
pub(super) fn doubled(first: Duration, last: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(last)
}

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again_after_success() {
        let backoff = Backoff::new();
        let pauses: Vec<u128> = (0..4).map(|_| backoff.after_failure("x").as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800]);
        for _ in 0..100 {
            assert!(backoff.after_failure("x") <= LAST);
        }
        assert_eq!(backoff.after_failure("x"), LAST);
        backoff.forget(&"x");
        assert_eq!(backoff.after_failure("x"), FIRST);
    }
}
