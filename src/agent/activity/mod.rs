//! What tells whether the pod is in use. A process serves one pod, so it counts for all that it serves.
//!
//! A sign of use is what is above the threshold that [`usage`](super::usage) has for it, over a minute: an editor that
//! is left open sends signs of life, and a `top` draws its screen, all night. Each sign has a file here.

mod counts;
mod gpu;
mod http;
mod kernels;
mod last;
mod measure;
mod processes;
mod window;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

pub(super) use self::counts::Counted;
use self::counts::Counts;
use self::measure::{Measured, Sample};
use super::account::Account;
use super::memory;
use super::usage::{Activity, History};

static COUNTS: LazyLock<Counts> = LazyLock::new(Counts::default);
static MEASURED: LazyLock<Mutex<Measured>> = LazyLock::new(|| Mutex::new(Measured::new(Instant::now(), tick())));

/// Between two looks at what has to be looked for.
const TICK: Duration = Duration::from_secs(15);
/// The same for one DevServer, in seconds, in its environment.
const TICK_VARIABLE: &str = "BASTION_LOOK_INTERVAL";
/// Of so many looks one is also at what takes other programs to see.
const FAR: u32 = 2;

/// A session begins.
pub(super) fn session() {
    COUNTS.sessions.add(1);
    measured().last.session.set(Instant::now());
}

/// Somebody typed so many bytes on a terminal.
pub(super) fn typed(bytes: usize) {
    COUNTS.typed.add(bytes);
    measured().last.input.set(Instant::now());
}

/// A session sent so many bytes to its program, which has no terminal.
pub(super) fn sent(bytes: usize) {
    COUNTS.sent.add(bytes);
}

/// A session's program wrote so many bytes.
pub(super) fn output(bytes: usize) {
    COUNTS.written.add(bytes);
}

/// So many bytes went over a forwarded connection.
pub(super) fn forwarded(bytes: usize) {
    COUNTS.forwarded.add(bytes);
}

/// A session's program runs.
pub(super) fn program() -> Counted {
    Counted::one(&COUNTS.programs)
}

/// A connection is forwarded.
pub(super) fn forward() -> Counted {
    Counted::one(&COUNTS.forwards)
}

pub(super) fn report() -> Activity {
    with_memory(measured().activity(&COUNTS, Instant::now()))
}

/// The last hour.
pub(super) fn history() -> History {
    let now = Instant::now();
    let measured = measured();
    History { activity: with_memory(measured.activity(&COUNTS, now)), minutes: measured.minutes() }
}

fn with_memory(activity: Activity) -> Activity {
    Activity { peak_memory: memory::peak(), out_of_memory_seconds: memory::seconds(), ..activity }
}

/// Looks around for ever.
pub(super) async fn watch() {
    let mut ticks = interval(tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut tick, mut of_helpers, mut gpus) = (0_u32, 0, gpu::Reader::default());
    loop {
        ticks.tick().await;
        memory::look();
        let mut taken = processes::taken().await;
        // A look at GPUs is a program, and no use of the pod.
        taken.cpu = taken.cpu.saturating_sub(of_helpers);
        measured().take(&Sample::of(&COUNTS, taken), Instant::now());
        if tick.is_multiple_of(FAR) {
            let before = processes::buried();
            let gpu = gpus.read().await;
            of_helpers += processes::buried().saturating_sub(before);
            let kernels = kernels::read(&Account::own().home).await;
            measured().take_far(gpu, kernels, Instant::now());
        }
        tick = tick.wrapping_add(1);
    }
}

fn tick() -> Duration {
    let seconds = std::env::var(TICK_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(TICK, |seconds: u64| Duration::from_secs(seconds.clamp(1, 60)))
}

fn measured() -> MutexGuard<'static, Measured> {
    MEASURED.lock().unwrap_or_else(PoisonError::into_inner)
}
