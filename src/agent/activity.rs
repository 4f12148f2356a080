//! What tells whether the pod is in use. A process serves one pod, so it counts for all that it serves.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use super::request::Activity;

static COUNTS: LazyLock<Counts> = LazyLock::new(|| Counts {
    began: Instant::now(),
    input: Last::new(),
    output: Last::new(),
    forwarded: Last::new(),
    programs: AtomicU32::new(0),
    forwards: AtomicU32::new(0),
});

struct Counts {
    began: Instant,
    input: Last,
    output: Last,
    forwarded: Last,
    programs: AtomicU32,
    forwards: AtomicU32,
}

/// When something last happened, in seconds since the beginning plus one; 0 is never.
struct Last(AtomicU64);

/// Something that is counted for as long as this lives.
pub(super) struct Counted(&'static AtomicU32);

/// Somebody's session sent something to its program.
pub(super) fn input() {
    COUNTS.input.now();
}

/// A session's program wrote something.
pub(super) fn output() {
    COUNTS.output.now();
}

/// Something went over a forwarded connection.
pub(super) fn forwarded() {
    COUNTS.forwarded.now();
}

/// A session's program runs. Whoever begins one uses the pod, if it never says a word.
pub(super) fn program() -> Counted {
    input();
    Counted::one(&COUNTS.programs)
}

/// A connection is forwarded.
pub(super) fn forward() -> Counted {
    Counted::one(&COUNTS.forwards)
}

pub(super) fn report() -> Activity {
    Activity {
        input_seconds: COUNTS.input.ago(),
        output_seconds: COUNTS.output.ago(),
        forwarded_seconds: COUNTS.forwarded.ago(),
        programs: COUNTS.programs.load(Ordering::Relaxed),
        forwards: COUNTS.forwards.load(Ordering::Relaxed),
    }
}

impl Last {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn now(&self) {
        self.0.store(COUNTS.began.elapsed().as_secs() + 1, Ordering::Relaxed);
    }

    fn ago(&self) -> Option<u64> {
        let then = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Some(COUNTS.began.elapsed().as_secs().saturating_sub(then))
    }
}

impl Counted {
    fn one(count: &'static AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
