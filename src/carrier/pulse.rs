//! When to ask whether the other side lives, and what to make of its silence.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Keepalive;

/// What was written and not answered by anything for so long is asked about.
const SOON: Duration = Duration::from_secs(2);
/// An answer that takes longer is told of.
const QUIET: Duration = Duration::from_secs(3);

pub(super) struct Pulse {
    silence: Silence,
    timer: Pin<Box<Sleep>>,
    /// Changes with whatever comes from the other side.
    hearing: watch::Receiver<()>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// A ping is to be sent.
    Ping,
    /// An answer is due since then.
    Silent(Instant),
    /// It was silent, and is not.
    Heard,
    /// It was silent for too long.
    Gone,
}

impl Pulse {
    pub(super) fn new(keepalive: Keepalive, hearing: watch::Receiver<()>) -> Self {
        let silence = Silence::new(keepalive, Instant::now());
        Self { timer: Box::pin(sleep_until(silence.next())), silence, hearing }
    }

    /// Something was written: it may be answered.
    pub(super) fn wrote(&mut self) {
        if !self.silence.told {
            self.listen();
        }
        self.silence.wrote(Instant::now());
    }

    /// What to do next, once it is to be done. Cancel safe.
    pub(super) async fn step(&mut self) -> Step {
        loop {
            if self.listen() {
                return Step::Heard;
            }
            if let Some(step) = self.silence.due(Instant::now()) {
                return step;
            }
            let next = self.silence.next();
            // One that fires too early does no harm, and is set again less often.
            if next < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(next);
            }
            tokio::select! {
                () = &mut self.timer => {}
                Ok(()) = self.hearing.changed(), if self.silence.told => self.hearing.mark_changed(),
            }
        }
    }

    /// Takes notice of what came; true if that ends a silence that was told of.
    fn listen(&mut self) -> bool {
        let heard = self.hearing.has_changed().unwrap_or(false);
        self.hearing.mark_unchanged();
        heard && self.silence.heard()
    }
}

/// Pure: the time is passed in.
struct Silence {
    keepalive: Keepalive,
    last_ping: Instant,
    /// Since when there is something written that nothing has followed.
    owed: Option<Instant>,
    /// The first ping that nothing has followed.
    asked: Option<Instant>,
    told: bool,
}

impl Silence {
    fn new(keepalive: Keepalive, now: Instant) -> Self {
        Self { keepalive, last_ping: now, owed: None, asked: None, told: false }
    }

    fn wrote(&mut self, now: Instant) {
        self.owed.get_or_insert(now);
    }

    fn heard(&mut self) -> bool {
        (self.owed, self.asked) = (None, None);
        std::mem::take(&mut self.told)
    }

    fn due(&mut self, now: Instant) -> Option<Step> {
        if self.gone_at().is_some_and(|at| now >= at) {
            return Some(Step::Gone);
        }
        if let Some(asked) = self.asked.filter(|asked| !self.told && now >= *asked + QUIET) {
            self.told = true;
            return Some(Step::Silent(asked));
        }
        if now >= self.next_ping() {
            self.last_ping = now;
            self.asked.get_or_insert(now);
            return Some(Step::Ping);
        }
        None
    }

    /// When something may be due, if nothing happens.
    fn next(&self) -> Instant {
        let quiet = self.asked.filter(|_| !self.told).map(|asked| asked + QUIET);
        [self.gone_at(), quiet].into_iter().flatten().fold(self.next_ping(), Instant::min)
    }

    fn next_ping(&self) -> Instant {
        let regular = self.last_ping + self.keepalive.ping;
        let soon = self.owed.filter(|_| self.asked.is_none()).map(|owed| owed + SOON);
        soon.map_or(regular, |soon| soon.min(regular))
    }

    fn gone_at(&self) -> Option<Instant> {
        Some(self.asked? + self.keepalive.ping * self.keepalive.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn silence() -> (Silence, Instant) {
        let began = Instant::now();
        let keepalive = Keepalive { ping: 15 * SECOND, patience: 3, grace: Duration::ZERO };
        (Silence::new(keepalive, began), began)
    }

    /// What is due, and in which second, if nothing comes.
    fn steps(silence: &mut Silence, began: Instant) -> Vec<(u64, Step)> {
        let mut steps = Vec::new();
        loop {
            let now = silence.next();
            let Some(step) = silence.due(now) else { continue };
            steps.push(((now - began).as_secs(), step));
            if step == Step::Gone {
                return steps;
            }
        }
    }

    #[test]
    fn a_silent_link_is_pinged_told_of_and_given_up() {
        let (mut silence, began) = silence();
        let silent = Step::Silent(began + 15 * SECOND);
        let expected = [(15, Step::Ping), (18, silent), (30, Step::Ping), (45, Step::Ping), (60, Step::Gone)];
        assert_eq!(steps(&mut silence, began), expected);
    }

    #[test]
    fn what_was_written_is_asked_about_soon() {
        let (mut silence, began) = silence();
        silence.wrote(began + SECOND);
        silence.wrote(began + 2 * SECOND);
        assert_eq!(steps(&mut silence, began)[..2], [(3, Step::Ping), (6, Step::Silent(began + 3 * SECOND))]);
        assert!(silence.heard() && !silence.heard());
    }

    #[test]
    fn an_answer_is_proof_and_the_next_ping_regular() {
        let (mut silence, began) = silence();
        silence.wrote(began);
        assert_eq!(silence.due(began + 2 * SECOND), Some(Step::Ping));
        assert!(!silence.heard());
        assert_eq!((silence.due(began + 10 * SECOND), silence.next()), (None, began + 17 * SECOND));
    }
}
