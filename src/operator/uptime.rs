//! A clock that goes on while the machine sleeps, as the clocks of others do. [`std::time::Instant`] does not.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// For how long the machine has been up, that in which it slept included.
pub(super) fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    // It counts from zero.
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_systems_uptime() {
        let before = uptime();
        let told = std::fs::read_to_string("/proc/uptime").unwrap();
        let told: f64 = told.split(' ').next().unwrap().parse().unwrap();
        let after = uptime();
        // It is told in hundredths, rounded down.
        assert!(before.as_secs_f64() - 0.02 <= told && told <= after.as_secs_f64(), "{before:?} {told} {after:?}");
    }
}
