//! Whose pods are looked at when: one after the other of each user, so that nobody's hold up those of others.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Pods that are looked at at once: logins go before.
const AT_ONCE: usize = 4;
/// The longest pause after looks that were of no use, as many times as a pod is looked at otherwise.
const MAX_PAUSE: u32 = 12;

pub(super) struct Rounds {
    every: Duration,
    turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Users whose pods are being looked at.
    under_way: HashSet<String>,
    /// Pods that did not tell: how long and until when they are left alone.
    pauses: HashMap<(String, String), (Duration, Instant)>,
}

/// The pods of one user, until dropped.
pub(super) struct Round<'a> {
    rounds: &'a Rounds,
    user: String,
}

impl Rounds {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, turns: Semaphore::new(AT_ONCE), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Nothing, while hers are being looked at.
    pub(super) fn begin(&self, user: &str) -> Option<Round<'_>> {
        self.state().under_way.insert(user.to_owned()).then(|| Round { rounds: self, user: user.to_owned() })
    }

    pub(super) fn forget(&self, is_gone: impl Fn(&str, &str) -> bool) {
        self.state().pauses.retain(|(user, name), _| !is_gone(user, name));
    }
}

impl State {
    fn is_left_alone(&self, pod: &(String, String), now: Instant) -> bool {
        self.pauses.get(pod).is_some_and(|(_, until)| now < *until)
    }

    /// Remembers at `now` whether `pod`, which is otherwise looked at `every` so often, told anything.
    fn note(&mut self, pod: (String, String), is_told: bool, every: Duration, now: Instant) {
        if is_told {
            self.pauses.remove(&pod);
            return;
        }
        let longer = self.pauses.get(&pod).map_or(every, |(last, _)| (2 * *last).min(every * MAX_PAUSE));
        self.pauses.insert(pod, (longer, now + longer));
    }
}

impl Round<'_> {
    /// Looks at those that are not left alone for now. `look` tells whether it was of any use.
    pub(super) async fn look_at<F: Future<Output = bool>>(&self, names: Vec<String>, look: impl Fn(String) -> F) {
        for name in names {
            let pod = (self.user.clone(), name);
            if self.rounds.state().is_left_alone(&pod, Instant::now()) {
                continue;
            }
            // In the order in which they ask: after each look of hers come those of others.
            let turn = self.rounds.turns.acquire().await;
            let is_told = look(pod.1.clone()).await;
            drop(turn);
            self.rounds.state().note(pod, is_told, self.rounds.every, Instant::now());
        }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.rounds.state().under_way.remove(&self.user);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;

    use super::*;

    const EVERY: Duration = Duration::from_secs(300);

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("d{n}")).collect()
    }

    #[test]
    fn pods_that_do_not_tell_hold_up_nobody_elses() {
        let rounds = Rounds::new(EVERY);
        let mallory = rounds.begin("mallory").unwrap();
        assert!(rounds.begin("mallory").is_none());
        let mut hers = Box::pin(mallory.look_at(names(20), |_| pending()));
        assert!(hers.as_mut().now_or_never().is_none(), "the first does not tell");
        let bob = rounds.begin("bob").unwrap();
        assert!(bob.look_at(names(20), |_| ready(true)).now_or_never().is_some());
        drop(hers);
        drop(mallory);
        assert!(rounds.begin("mallory").is_some());
    }

    #[test]
    fn of_many_who_do_the_same_each_has_her_turn() {
        let rounds = Rounds::new(EVERY);
        let (told, began) = (Semaphore::new(0), Mutex::new(0));
        let all: Vec<_> = (0..AT_ONCE).map(|n| rounds.begin(&format!("mallory{n}")).unwrap()).collect();
        let mute = |_| async {
            *began.lock() += 1;
            told.acquire().await.unwrap().forget();
            false
        };
        let mut looks: Vec<_> = all.iter().map(|round| Box::pin(round.look_at(names(20), mute))).collect();
        let mut go_on = || looks.iter_mut().for_each(|look| assert!(look.as_mut().now_or_never().is_none()));
        go_on();
        let bob = rounds.begin("bob").unwrap();
        let mut his = Box::pin(bob.look_at(names(1), |_| ready(true)));
        assert!(his.as_mut().now_or_never().is_none(), "all turns are taken");
        told.add_permits(1);
        go_on();
        assert!(his.as_mut().now_or_never().is_some(), "the first that is free is his");
        assert_eq!(*began.lock(), AT_ONCE, "and not that of who had one");
    }

    #[test]
    fn what_does_not_tell_is_asked_less_and_less_often() {
        let (mut state, start) = (State::default(), Instant::now());
        let pod = || ("alice".to_owned(), "dev".to_owned());
        let mut asked = Vec::new();
        for n in 0..40 {
            let now = start + n * EVERY;
            if !state.is_left_alone(&pod(), now) {
                state.note(pod(), false, EVERY, now);
                asked.push(n);
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 27, 39], "and at last once an hour");
        let now = start + 51 * EVERY;
        state.note(pod(), true, EVERY, now);
        assert!(!state.is_left_alone(&pod(), now) && state.pauses.is_empty());
    }
}
