//! Whose turn it is to write: of the streams that somebody types on there are few, whose echoes should not wait for a
//! round of all others.

use std::collections::VecDeque;

/// Streams with something to write. Terminals have every other turn, so that one that says much delays nobody by more.
#[derive(Default)]
pub(super) struct Turns {
    terminals: VecDeque<u32>,
    others: VecDeque<u32>,
    was_terminal: bool,
}

impl Turns {
    pub(super) fn push(&mut self, id: u32, is_terminal: bool) {
        if is_terminal { &mut self.terminals } else { &mut self.others }.push_back(id);
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        self.was_terminal = !self.terminals.is_empty() && (!self.was_terminal || self.others.is_empty());
        if self.was_terminal { &mut self.terminals } else { &mut self.others }.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo waited for a piece of each forward.
    #[test]
    fn a_terminal_waits_for_one_other_at_most_and_others_for_one_terminal() {
        let mut turns = Turns::default();
        for id in 1..=20 {
            turns.push(id, false);
        }
        assert_eq!(turns.pop(), Some(1));
        turns.push(100, true);
        assert_eq!(turns.pop(), Some(100));
        for id in [101, 102, 103] {
            turns.push(id, true);
        }
        let order: Vec<_> = std::iter::from_fn(|| turns.pop()).take(6).collect();
        assert_eq!(order, [2, 101, 3, 102, 4, 103]);
        assert_eq!(std::iter::from_fn(|| turns.pop()).collect::<Vec<_>>(), (5..=20).collect::<Vec<_>>());
        turns.push(100, true);
        turns.push(101, true);
        assert_eq!([turns.pop(), turns.pop(), turns.pop()], [Some(100), Some(101), None]);
    }
}
