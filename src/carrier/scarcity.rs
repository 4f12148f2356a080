//! How much a stream may send at once. While memory is scarce it sends small pieces, and asks the other side to
//! acknowledge them early.

use super::Side;
use super::budget::TERMINAL_FLOOR;
use super::frame::MAX_DATA;
use super::state::State;

/// What a stream may send now.
pub(super) struct Room {
    /// The most that goes as one, in bytes.
    pub(super) piece: usize,
    /// The part of the window that stays unused.
    pub(super) spared: usize,
    /// The other side is asked to tell what it took.
    pub(super) asks: bool,
}

impl State {
    /// What is under way of one stream delays all others, and half a window keeps the other side busy on all but the
    /// longest ways. To a terminal goes no more at once than the other side keeps of it while its memory is scarce:
    /// what is typed meanwhile is shown the sooner. As that is less than what the other side tells of by itself, it is
    /// asked.
    pub(super) fn room(&mut self, id: u32) -> Room {
        let floor = self.share.floor(self.streams.len());
        let Some(entry) = self.streams.get_mut(&id) else { return Room { piece: MAX_DATA, spared: 0, asks: false } };
        let (piece, spared) = match floor {
            Some(floor) => (floor, self.window.saturating_sub(floor)),
            None if entry.is_terminal && self.side == Side::Agent => {
                (MAX_DATA, self.window.saturating_sub(TERMINAL_FLOOR))
            }
            None if self.terminals > 0 && !entry.is_terminal => (MAX_DATA, self.window / 2),
            None => (MAX_DATA, 0),
        };
        let asks = spared > self.window / 2 && entry.window.available_permits() < spared + piece;
        if asks {
            entry.asks = true;
            self.make_ready(id);
        }
        Room { piece, spared, asks }
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
