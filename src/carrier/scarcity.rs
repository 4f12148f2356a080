//! How much streams send at once, and how they go on while memory is scarce: by little at a time, of which the other side is
//! asked to tell sooner than it would.

use super::frame::MAX_DATA;
use super::state::State;

/// What a stream may send now.
pub(super) struct Room {
    /// The most that goes as one, in bytes.
    pub(super) piece: usize,
    /// The part of the window that stays unused.
    pub(super) spared: usize,
}

impl State {
    /// What is under way of one stream delays all others, and half a window keeps the other side busy on all but the longest
    /// ways.
    pub(super) fn room(&mut self, id: u32) -> Room {
        if let Some(floor) = self.share.floor(self.streams.len()) {
            self.asks = true;
            return Room { piece: floor, spared: self.window.saturating_sub(floor) };
        }
        let is_terminal = self.streams.get(&id).is_none_or(|entry| entry.is_terminal);
        let spared = if self.terminals > 0 && !is_terminal { self.window / 2 } else { 0 };
        Room { piece: MAX_DATA, spared }
    }

    /// The other side wants to hear what was taken of each stream; where that is not all yet, once it is.
    pub(super) fn tell_all(&mut self) {
        let mut untold = Vec::new();
        for (&id, entry) in &mut self.streams {
            entry.is_asked = entry.unread() > 0;
            if entry.arrived != entry.told {
                untold.push(id);
            }
        }
        for id in untold {
            self.make_ready(id);
        }
    }
}
