//! What one end knows of one stream: what went out and came in, and how much of both was taken.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Semaphore;

use super::Error;
use super::frame::{Acknowledgement, Message};
use super::inbox::Inlet;
use super::queue::Queue;

/// Arrived messages that need not be told of at once.
const UNTOLD_MESSAGES: u64 = 64;
/// The part of the window of which the same is true: each telling costs all that lies between as much as a piece of
/// data.
const UNTOLD_PART: usize = 4;
/// Messages that are written before the other side has told of any: it does sooner, and further ones can be joined.
const MAX_WRITTEN: usize = 8 * 1024;

pub(super) struct Entry {
    /// Sent and not acknowledged; the first `written` of them went out on this link.
    pub(super) outgoing: Queue,
    pub(super) written: usize,
    /// What the other side has told.
    pub(super) acknowledged: Acknowledgement,
    /// Bytes of data in the messages that it has.
    pub(super) acknowledged_bytes: u64,
    /// A permit for each byte that may be sent.
    pub(super) window: Arc<Semaphore>,
    /// See [`Receiver::was_asked`](super::Receiver::was_asked).
    pub(super) asked: Arc<AtomicBool>,
    /// Towards the reader; none once either side has ended.
    pub(super) inbound: Option<Inlet>,
    /// What came, and how much of it was taken.
    pub(super) arrived: Acknowledgement,
    pub(super) arrived_bytes: u64,
    pub(super) told: Acknowledgement,
    /// The other side asked before all that came was taken.
    pub(super) is_asked: bool,
    /// The other side is to be asked, after all that waits to be written.
    pub(super) asks: bool,
    pub(super) is_ready: bool,
    pub(super) is_terminal: bool,
    pub(super) ended_here: bool,
    pub(super) ended_there: bool,
}

impl Entry {
    /// Whether the other side should hear now of what came.
    pub(super) fn is_due(&self, window: usize) -> bool {
        self.arrived.messages - self.told.messages >= UNTOLD_MESSAGES
            || self.arrived.bytes - self.told.bytes >= (window / UNTOLD_PART) as u64
            || ((self.ended_there || (self.is_asked && self.unread() == 0)) && self.told != self.arrived)
    }

    /// Bytes of data that came and were not taken.
    pub(super) fn unread(&self) -> u64 {
        self.arrived_bytes - self.arrived.bytes
    }

    /// Whether more waits than `floor` of what came, with or without weight: both take up memory.
    pub(super) fn exceeds(&self, floor: usize) -> bool {
        self.unread() > floor as u64 || self.inbound.as_ref().is_some_and(|inbound| inbound.weightless_cost() > floor)
    }

    /// What may be written now.
    pub(super) fn unwritten(&self) -> Option<&Message> {
        self.outgoing.get(self.written).filter(|_| self.written < MAX_WRITTEN)
    }

    /// Ends it for whoever uses it here; that one, by letting go of it, then ends it at the other side.
    pub(super) fn break_off(&mut self) {
        self.inbound = None;
        self.window.close();
    }

    /// As [`Self::break_off`]; what arrived and was not read is dropped, too.
    pub(super) fn discard(&mut self) {
        if let Some(inbound) = &self.inbound {
            inbound.clear();
        }
        self.break_off();
    }

    /// What was acknowledged need not be kept, and what was taken makes room. Nothing can be taken that has not
    /// arrived: else more would be sent, and kept, than the window allows.
    pub(super) fn acknowledge(&mut self, told: Acknowledgement) -> Result<(), Error> {
        let impossible = Error::Protocol("an acknowledgement of what was never sent");
        let news = told.messages.checked_sub(self.acknowledged.messages).and_then(|news| usize::try_from(news).ok());
        let taken = told.bytes.checked_sub(self.acknowledged.bytes);
        let (Some(news), Some(taken)) = (news.filter(|news| *news <= self.outgoing.len()), taken) else {
            return Err(impossible);
        };
        let arrived = self.outgoing.weight(news) as u64;
        if told.bytes > self.acknowledged_bytes + arrived {
            return Err(impossible);
        }
        self.outgoing.remove(news);
        self.written = self.written.saturating_sub(news);
        self.window.add_permits(taken as usize);
        self.acknowledged = told;
        self.acknowledged_bytes += arrived;
        Ok(())
    }
}
