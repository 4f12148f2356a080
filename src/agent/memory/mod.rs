//! Running out of memory. The kernel ends a program of the container then, or all of them; of one of them its user
//! reads no more than `Killed`. Here it is noticed, and told to whoever is in.

mod cgroup;

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use self::cgroup::Cgroup;
use super::request::{Exit, OutOfMemory, Response};

static CGROUP: LazyLock<Option<Cgroup>> = LazyLock::new(Cgroup::own);
/// The count of programs ended that terminals were told of.
static ANNOUNCED: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));
static SOMEBODY: Notify = Notify::const_new();
static SEEN: Mutex<Seen> = Mutex::new(Seen { kills: None, last: None });

/// Between two looks while somebody is in.
const TICK: Duration = Duration::from_secs(2);
/// Between two announcements: a program may have many workers, and the kernel ends one after the other.
const PAUSE: Duration = Duration::from_secs(10);
/// What was killed later was killed by somebody.
const RECENT: Duration = Duration::from_secs(10);

/// Looks for as long as the server runs, while somebody is in.
pub(super) async fn watch() {
    if CGROUP.is_none() {
        return;
    }
    loop {
        let mut pace = Pace::new(look());
        while ANNOUNCED.receiver_count() > 0 {
            let kills = look();
            if pace.turn(kills, Instant::now()) {
                ANNOUNCED.send_replace(kills);
            }
            sleep(TICK).await;
        }
        SOMEBODY.notified().await;
    }
}

/// What tells that there is something for a [`Listener`] to hear. While somebody has it, it is looked for.
pub(super) fn announcements() -> watch::Receiver<u64> {
    let announcements = ANNOUNCED.subscribe();
    SOMEBODY.notify_one();
    announcements
}

/// A session that is told.
pub(super) struct Listener {
    understands: bool,
    /// Up to which count it was told, or was not there.
    heard: u64,
}

impl Listener {
    /// One that begins; a bastion may be too old to understand.
    pub(super) fn new(understands: bool) -> Self {
        Self { understands, heard: if understands { look() } else { 0 } }
    }

    /// What was announced.
    pub(super) fn hear(&mut self) -> Option<Response> {
        self.take(*ANNOUNCED.borrow())
    }

    /// The same of a program that ended so, perhaps for that.
    pub(super) fn hear_at(&mut self, end: Exit) -> Option<Response> {
        let is_it = is_kill(end) && seconds().is_some_and(|seconds| seconds <= RECENT.as_secs());
        is_it.then(|| self.take(look()))?
    }

    fn take(&mut self, kills: u64) -> Option<Response> {
        if !self.understands || kills <= self.heard {
            return None;
        }
        self.heard = kills;
        let memory = CGROUP.as_ref().map(Cgroup::memory).unwrap_or_default();
        Some(Response::OutOfMemory(OutOfMemory { limit: memory.limit, peak: memory.peak }))
    }
}

/// By the signal that the kernel sends then, or as a shell tells of a program that it waited for.
fn is_kill(end: Exit) -> bool {
    const KILL: u32 = Signal::KILL.as_raw().unsigned_abs();
    match end {
        Exit::Signal { number, .. } => number == KILL,
        Exit::Code(code) => code == 128 + KILL,
    }
}

/// The most that was in use at once, in bytes.
pub(super) fn peak() -> Option<u64> {
    CGROUP.as_ref()?.memory().peak
}

/// For how many seconds the kernel has ended no program for that; none if it never did.
pub(super) fn seconds() -> Option<u64> {
    look();
    seen(|seen| seen.last.map(|last| last.elapsed().as_secs()))
}

/// How many programs the kernel has ended by now.
pub(super) fn look() -> u64 {
    let kills = CGROUP.as_ref().and_then(Cgroup::kills);
    seen(|seen| seen.take(kills, Instant::now()))
}

struct Seen {
    kills: Option<u64>,
    /// When it was last found that there were more.
    last: Option<Instant>,
}

impl Seen {
    /// Returns the last that is known.
    fn take(&mut self, kills: Option<u64>, now: Instant) -> u64 {
        let kills = kills.or(self.kills);
        // What was there at the first look happened nobody knows when.
        if self.kills.is_some() && kills > self.kills {
            self.last = Some(now);
        }
        self.kills = kills;
        kills.unwrap_or_default()
    }
}

fn seen<T>(look: impl FnOnce(&mut Seen) -> T) -> T {
    look(&mut SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// How often it is announced.
struct Pace {
    announced: u64,
    at: Option<Instant>,
}

impl Pace {
    fn new(kills: u64) -> Self {
        Self { announced: kills, at: None }
    }

    /// Whether to announce it now.
    fn turn(&mut self, kills: u64, now: Instant) -> bool {
        let is_soon = self.at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE);
        if kills <= self.announced || is_soon {
            return false;
        }
        (self.announced, self.at) = (kills, Some(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_end_one_after_the_other_are_announced_now_and_then() {
        let began = Instant::now();
        let mut pace = Pace::new(3);
        let mut turn = |second, kills| pace.turn(kills, began + Duration::from_secs(second));
        assert!(!turn(0, 3), "what was before");
        assert!(turn(2, 4) && !turn(4, 4));
        assert!(!turn(6, 5) && !turn(11, 6) && turn(12, 6), "the rest in one");
        assert!(!turn(100, 6) && !turn(100, 0), "another count, of whatever");
    }

    #[test]
    fn only_what_happens_after_the_first_look_has_a_time() {
        let began = Instant::now();
        let mut seen = Seen { kills: None, last: None };
        assert_eq!(seen.take(None, began), 0);
        seen.take(Some(3), began);
        assert_eq!((seen.take(None, began + TICK), seen.last), (3, None));
        seen.take(Some(4), began + TICK * 2);
        seen.take(Some(4), began + TICK * 3);
        assert_eq!(seen.last, Some(began + TICK * 2));
    }

    #[test]
    fn each_session_hears_once_of_what_it_was_there_for() {
        let mut listener = Listener { understands: true, heard: 2 };
        assert!(listener.take(2).is_none());
        assert!(listener.take(3).is_some() && listener.take(3).is_none());
        assert!(Listener { understands: false, heard: 0 }.take(3).is_none());
        assert!(is_kill(Exit::Signal { number: 9, core_dumped: false }) && is_kill(Exit::Code(137)));
        assert!(!is_kill(Exit::Signal { number: 15, core_dumped: false }) && !is_kill(Exit::Code(9)));
    }
}
