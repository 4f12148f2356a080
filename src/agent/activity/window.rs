//! How much something that only grows has grown in the last minute.

use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Window {
    before: Option<u64>,
    grown: [u64; TICKS],
    at: usize,
}

/// In a minute.
pub(super) const TICKS: usize = (Duration::from_mins(1).as_secs() / super::TICK.as_secs()) as usize;

impl Window {
    /// Takes the total of now, and returns by how much it grew since the last time. A total that falls did not grow.
    pub(super) fn take(&mut self, total: u64) -> u64 {
        let grown = self.before.replace(total).map_or(0, |before| total.saturating_sub(before));
        self.grown[self.at] = grown;
        self.at = (self.at + 1) % TICKS;
        grown
    }

    pub(super) fn in_a_minute(&self) -> u64 {
        self.grown.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_remembered_and_what_was_before_the_first_look_is_not() {
        let mut window = Window::default();
        let mut grown = Vec::new();
        for total in [1000, 1010, 1010, 1030, 1030, 1030, 900, 905] {
            window.take(total);
            grown.push(window.in_a_minute());
        }
        assert_eq!(grown, [0, 10, 10, 30, 30, 20, 20, 5]);
    }
}
