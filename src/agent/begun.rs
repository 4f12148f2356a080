//! What was begun here, so that nothing begins twice.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// So many requests are remembered; a bastion repeats one within minutes.
const REMEMBERED: usize = 1024;

/// The names of the newest requests.
#[derive(Default)]
pub(super) struct Begun(Mutex<VecDeque<String>>);

impl Begun {
    /// Whether a request of that name is the first. One whose answer was lost is asked again, and has begun.
    pub(super) fn is_first(&self, name: &str) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.iter().any(|known| known == name) {
            return false;
        }
        if names.len() == REMEMBERED {
            names.pop_front();
        }
        names.push_back(name.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_no_more_than_that() {
        let begun = Begun::default();
        assert!(begun.is_first("one") && !begun.is_first("one"));
        for name in 0..REMEMBERED {
            assert!(begun.is_first(&name.to_string()));
        }
        assert!(begun.is_first("one"));
        assert_eq!(begun.0.lock().unwrap().len(), REMEMBERED);
    }
}
