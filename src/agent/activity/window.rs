//! How much something that only grows has grown in the last minute.

#[derive(Debug)]
pub(super) struct Window {
    before: Option<u64>,
    grown: Box<[u64]>,
    at: usize,
}

impl Window {
    /// For so many looks in a minute.
    pub(super) fn new(ticks: usize) -> Self {
        Self { before: None, grown: vec![0; ticks].into(), at: 0 }
    }

    /// Takes the total of now, and returns by how much it grew since the last time. A total that falls did not grow.
    pub(super) fn take(&mut self, total: u64) -> u64 {
        let grown = self.before.replace(total).map_or(0, |before| total.saturating_sub(before));
        self.grown[self.at] = grown;
        self.at = (self.at + 1) % self.grown.len();
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
        let mut window = Window::new(4);
        let mut grown = Vec::new();
        for total in [1000, 1010, 1010, 1030, 1030, 1030, 900, 905] {
            window.take(total);
            grown.push(window.in_a_minute());
        }
        assert_eq!(grown, [0, 10, 10, 30, 30, 20, 20, 5]);
    }
}
