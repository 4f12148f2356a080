//! How a side ends in order: it acknowledges all that it received, then says that it accepts nothing more, so that the
//! other side can ask another for the rest.
//!
//! It says of the carrier, as stream 0, that it is over and forgotten. Sides that are older have no such stream.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::timeout;

use super::entry::Entry;
use super::frame::{Body, Frame};
use super::state::{GONE, State};
use super::{Carrier, Error};

#[derive(Default)]
pub(super) struct Farewell {
    /// This side takes in no further stream.
    is_due: bool,
    /// It does not wait for its own answers any longer.
    is_overdue: bool,
    /// It said so on the link in use.
    is_said: bool,
}

impl Carrier {
    /// Takes in no further stream, and says so once it has answered all that came.
    pub fn refuse(&self) {
        self.0.state().farewell.is_due = true;
        self.0.changed.notify_one();
    }

    /// Refuses, for want of answers after `patience` all the same, and returns once the other side has heard it, which
    /// then ends the link. Waits as long again for that.
    pub async fn leave(&self, patience: Duration) {
        self.refuse();
        if timeout(patience, self.unlinked()).await.is_err() {
            self.0.state().farewell.is_overdue = true;
            self.0.changed.notify_one();
            let _ = timeout(patience, self.unlinked()).await;
        }
    }

    async fn unlinked(&self) {
        drop(self.0.linked.lock().await);
    }
}

impl State {
    pub(super) fn takes_nothing_in(&self) -> bool {
        self.farewell.is_due
    }

    /// Says it if it is time: the other side reads no further.
    pub(super) fn say_farewell(&mut self, buffer: &mut BytesMut) {
        let Farewell { is_due, is_overdue, is_said } = self.farewell;
        let may_leave = || self.streams.iter().all(|(id, entry)| !self.is_theirs(*id) || entry.may_be_left());
        if !is_due || is_said || !(is_overdue || may_leave()) {
            return;
        }
        for (&stream, entry) in &mut self.streams {
            if entry.told != entry.arrived {
                entry.told = entry.arrived;
                Frame { stream, body: Body::Acknowledge(entry.arrived) }.encode(buffer);
            }
        }
        Frame { stream: 0, body: Body::Acknowledge(GONE) }.encode(buffer);
        self.farewell.is_said = true;
    }

    /// On another link it is to be said again.
    pub(super) fn unsay_farewell(&mut self) {
        self.farewell.is_said = false;
    }

    /// The other side said it.
    pub(super) fn hear_farewell(&mut self) -> Error {
        for entry in self.streams.values().filter(|entry| entry.is_unheard_of()) {
            entry.asked.store(false, Ordering::Relaxed);
        }
        Error::Left
    }
}

impl Entry {
    /// Whether it is answered, and all was said if that was the last.
    fn may_be_left(&self) -> bool {
        let is_answered = self.written > 0 || self.acknowledged.messages > 0;
        is_answered && (!self.ended_here || self.written == self.outgoing.len())
    }

    /// Whether there is no sign that the other side has it.
    pub(super) fn is_unheard_of(&self) -> bool {
        self.acknowledged.messages == 0 && self.arrived.messages == 0
    }
}
