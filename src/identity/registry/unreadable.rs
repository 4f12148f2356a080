//! Lines of users' keys that cannot be read: whoever wrote one should hear of it, but not at each login.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

/// Those that were told of.
#[derive(Default)]
pub(super) struct Unreadable(Mutex<HashSet<u64>>);

/// More than anybody would repair. Then all are news again.
const MAX_KEPT: usize = 4096;

impl Unreadable {
    /// Whether nobody was told yet of this `line` of `user`.
    pub(super) fn is_news(&self, user: &str, line: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        (user, line).hash(&mut hasher);
        let mut told = self.0.lock();
        if told.len() >= MAX_KEPT {
            told.clear();
        }
        told.insert(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_told_once_and_once_more_when_it_is_changed() {
        let unreadable = Unreadable::default();
        assert!(unreadable.is_news("alice", "ssh-ed25519 AAA"));
        assert!(!unreadable.is_news("alice", "ssh-ed25519 AAA"));
        assert!(unreadable.is_news("alice", "ssh-ed25519 AAAB"));
        assert!(unreadable.is_news("bob", "ssh-ed25519 AAA"));
        for line in 0..3 * MAX_KEPT {
            unreadable.is_news("carol", &line.to_string());
            assert!(unreadable.0.lock().len() <= MAX_KEPT);
        }
    }
}
