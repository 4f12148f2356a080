//! What could not be done, by the name of what it was about, and when each is tried again: one that is refused for ever
//! holds up no other.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::doubled;

#[derive(Default)]
pub(super) struct Refused(HashMap<String, Refusal>);

struct Refusal {
    why: String,
    failures: u32,
    again: Instant,
}

impl Refused {
    pub(super) fn is_due(&self, name: &str, now: Instant) -> bool {
        self.0.get(name).is_none_or(|refusal| refusal.again <= now)
    }

    /// Notes a failure, and tells how long to wait after it.
    pub(super) fn put(&mut self, name: String, why: String, now: Instant) -> Duration {
        let failures = self.0.get(&name).map_or(0, |refusal| refusal.failures);
        let pause = doubled(FIRST_PAUSE, LAST_PAUSE, failures);
        self.0.insert(name, Refusal { why, failures: failures.saturating_add(1), again: now + pause });
        pause
    }

    /// It worked, or need not be done any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Forgets what is about none of these.
    pub(super) fn retain(&mut self, is_left: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| is_left(name));
    }

    /// When the first of it is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|refusal| refusal.again).min()
    }

    pub(super) fn why(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|refusal| refusal.why.as_str())
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_longer_the_more_often_it_is_refused_and_waits_for_no_other() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert!(refused.is_due("a", now) && refused.next().is_none());
        for seconds in [1, 2, 4] {
            assert_eq!(refused.put("a".to_owned(), "no".to_owned(), now), second * seconds);
        }
        assert_eq!(refused.put("b".to_owned(), "never".to_owned(), now), second);
        assert!(refused.is_due("b", now + second) && !refused.is_due("a", now + second));
        assert!(refused.is_due("a", now + second * 4));
        assert_eq!((refused.next(), refused.why("b")), (Some(now + second), Some("never")));
        refused.retain(|name| name == "a");
        assert_eq!((refused.next(), refused.why("b")), (Some(now + second * 4), None));
        for _ in 0..100 {
            assert!(refused.put("a".to_owned(), "no".to_owned(), now) <= LAST_PAUSE);
        }
        refused.forget("a");
        assert_eq!(refused.put("a".to_owned(), "no".to_owned(), now), second);
    }
}
