//! What both sides tell each other of their streams when a link begins, and what follows for what was sent before.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::Error;
use super::frame::Acknowledgement;
use super::state::{MAX_WINDOW, State, window_of};
use super::turns::Turns;

impl State {
    /// What is to be known of all streams when a link begins.
    pub(super) fn received(&mut self) -> Vec<(u32, u64)> {
        let mut received: Vec<_> = self.streams.iter().map(|(&id, entry)| (id, entry.arrived.messages)).collect();
        received.sort_unstable();
        received
    }

    /// The number of a link that this side begins.
    pub(super) fn number_link(&mut self) -> u64 {
        self.links += 1;
        self.links
    }

    /// Whether no later link came before this one. Sides that do not number theirs are believed.
    pub(super) fn is_newest(&mut self, link: Option<u64>) -> bool {
        let Some(link) = link else { return true };
        let is_newest = link > self.links;
        self.links = self.links.max(link);
        is_newest
    }

    pub(super) fn own_window(&self) -> u64 {
        window_of(self.side) as u64
    }

    /// The other side tells its window, always the same; then it also knows that of this one.
    pub(super) fn agree(&mut self, window: Option<u64>) {
        let Some(window) = window else { return };
        self.own_window = window_of(self.side);
        let window = usize::try_from(window).unwrap_or(MAX_WINDOW).min(MAX_WINDOW);
        let wider = window.saturating_sub(self.window);
        self.window += wider;
        for entry in self.streams.values() {
            entry.window.add_permits(wider);
        }
    }

    /// A link begins: what the other side did not receive is to be written again.
    pub(super) fn relink(&mut self, received: &[(u32, u64)]) -> Result<(), Error> {
        let received: HashMap<u32, u64> = received.iter().copied().collect();
        self.ready = Turns::default();
        self.pong = false;
        self.gone.clear();
        self.unsay_farewell();
        let mut ids: Vec<u32> = self.streams.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(entry) = self.streams.get_mut(&id) else { continue };
            (entry.written, entry.is_ready, entry.told) = (0, false, Acknowledgement::default());
            // What went with the link before was perhaps not heard.
            entry.asks |= entry.window.available_permits() < self.window;
            let is_new = match received.get(&id) {
                Some(&messages) => {
                    entry.acknowledge(Acknowledgement { messages, ..entry.acknowledged })?;
                    false
                }
                // It has never heard of it: Open is still to come.
                None if entry.is_unheard_of() => {
                    entry.asked.store(false, Ordering::Relaxed);
                    true
                }
                None => {
                    self.forget(id);
                    continue;
                }
            };
            // New ones in the order of their numbers, terminal or not: one below another would have come and gone.
            entry.is_ready = true;
            self.ready.push(id, entry.is_terminal && !is_new);
        }
        Ok(())
    }
}
