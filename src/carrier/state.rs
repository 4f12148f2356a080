//! What one end knows of its streams. Pure: no waiting, no input or output.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Semaphore, mpsc};

use super::budget::{Budget, Share};
use super::entry::Entry;
use super::farewell::Farewell;
use super::frame::{Acknowledgement, Body, Frame, Message};
use super::inbox::inbox;
use super::queue::Queue;
use super::stream::Stream;
use super::turns::Turns;
use super::{Opened, Shared, Side};

/// Bytes of data on each stream that a side takes before it must have acknowledged some: also the most that each side
/// keeps of it in memory. What is under way to the bastion is waited for by the echoes of keystrokes; the way to the
/// pod holds so much that 256 KiB slow an upload to a third, and 1 MiB still a little.
pub(super) const fn window_of(side: Side) -> usize {
    match side {
        Side::Bastion => OLD_WINDOW,
        Side::Agent => MAX_WINDOW,
    }
}

/// What a side takes that does not say what it takes.
const OLD_WINDOW: usize = 1024 * 1024;
/// More is not sent, whatever the other side takes.
pub(super) const MAX_WINDOW: usize = 2 * 1024 * 1024;
/// Streams at which no further one is opened. As many again are taken from the other side, which counts for itself; the
/// hello of the next link names them all.
pub(super) const MANY_STREAMS: usize = 6 * 1024;
pub(super) const MAX_STREAMS: usize = 2 * MANY_STREAMS;
/// Room for what is written among large messages, in bytes.
const SMALL: usize = 4 * 1024;
/// Says of a stream that it is over and forgotten.
pub(super) const GONE: Acknowledgement = Acknowledgement { messages: u64::MAX, bytes: u64::MAX };

pub(super) struct State {
    pub(super) streams: HashMap<u32, Entry>,
    pub(super) ready: Turns,
    /// What is to be written before anything else: that this side lives, and which streams are over. The other side may
    /// ask without ever reading, so what it asks twice is answered once.
    pub(super) pong: bool,
    /// The other side asked what was taken of each stream.
    pub(super) tells_all: bool,
    pub(super) gone: BTreeSet<u32>,
    /// The other side is to tell what it took, sooner than it would: somebody waits for that.
    asks: bool,
    next: u32,
    /// The newest stream that the other side opened.
    pub(super) newest: u32,
    /// Those who are about to open a stream.
    holds: usize,
    /// Streams that somebody types on.
    pub(super) terminals: usize,
    pub(super) farewell: Farewell,
    pub(super) closed: bool,
    /// Towards who serves what the other side opens, until it is closed.
    pub(super) opened: Option<mpsc::UnboundedSender<Opened>>,
    pub(super) side: Side,
    pub(super) share: Arc<Share>,
    /// How many links this side has begun, or the highest number of one that the other has.
    pub(super) links: u64,
    /// The window of the other side.
    pub(super) window: usize,
    /// That of this side, as far as the other knows it.
    pub(super) own_window: usize,
}

impl State {
    pub(super) fn new(side: Side, budget: Arc<Budget>, opened: mpsc::UnboundedSender<Opened>) -> Self {
        let next = if side == Side::Bastion { 1 } else { 2 };
        let (streams, ready, gone, farewell) = Default::default();
        let (window, own_window, opened, share) = (OLD_WINDOW, OLD_WINDOW, Some(opened), Arc::new(Share::of(budget)));
        let (pong, tells_all, asks, newest, holds, terminals, closed) = (false, false, false, 0, 0, 0, false);
        Self {
            streams,
            ready,
            pong,
            tells_all,
            gone,
            asks,
            next,
            newest,
            holds,
            terminals,
            farewell,
            closed,
            opened,
            side,
            share,
            links: 0,
            window,
            own_window,
        }
    }

    pub(super) fn open(&mut self, shared: &Arc<Shared>, request: Bytes) -> Stream {
        let id = self.next;
        self.next += 2;
        let stream = self.insert(shared, id, 0, MANY_STREAMS);
        if !self.send(id, Message::Open(request)) {
            self.forget(id);
        }
        stream
    }

    /// The stream is over at once if there are `enough` of them.
    pub(super) fn insert(&mut self, shared: &Arc<Shared>, id: u32, arrived: u64, enough: usize) -> Stream {
        let (inbound, messages) = inbox(self.share.clone());
        let (window, asked) = (Arc::new(Semaphore::new(self.window)), Arc::default());
        let stream = Stream::new(shared.clone(), id, window.clone(), messages, Arc::clone(&asked));
        if self.closed || self.streams.len() >= enough {
            window.close();
            return stream;
        }
        let entry = Entry {
            outgoing: Queue::new(self.share.clone()),
            written: 0,
            acknowledged: Acknowledgement::default(),
            acknowledged_bytes: 0,
            window,
            asked,
            inbound: Some(inbound),
            arrived: Acknowledgement { messages: arrived, bytes: 0 },
            arrived_bytes: 0,
            told: Acknowledgement::default(),
            is_asked: false,
            asks: false,
            is_ready: false,
            is_terminal: false,
            ended_here: false,
            ended_there: false,
        };
        self.streams.insert(id, entry);
        stream
    }

    /// Queues a message; false if the stream is over, or ends because the other side would not take the message: it
    /// would end the link, and each link after it. Or because too many wait already, of those that no window holds up.
    pub(super) fn send(&mut self, id: u32, message: Message) -> bool {
        let Some(entry) = self.streams.get_mut(&id).filter(|entry| !entry.ended_here) else { return false };
        if !message.fits() {
            entry.break_off();
            return false;
        }
        if message == Message::End {
            entry.ended_here = true;
            entry.inbound = None;
        } else if entry.ended_there {
            return false;
        }
        let queued = entry.outgoing.push(message, entry.written).is_ok();
        if !queued {
            entry.break_off();
        }
        self.make_ready(id);
        queued
    }

    /// Somebody types on stream `id`.
    pub(super) fn mark_terminal(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut entry.is_terminal, true)
        {
            self.terminals += 1;
        }
    }

    /// The reader of stream `id` took a message of that weight.
    pub(super) fn taken(&mut self, id: u32, weight: usize) -> bool {
        let Some(entry) = self.streams.get_mut(&id) else { return false };
        entry.arrived.bytes += weight as u64;
        let due = entry.is_due(self.own_window);
        if due {
            self.make_ready(id);
        }
        due
    }

    pub(super) fn make_ready(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut entry.is_ready, true)
        {
            self.ready.push(id, entry.is_terminal);
        }
    }

    /// Moves what is to be written into `buffer`, until it holds `enough` bytes.
    pub(super) fn write(&mut self, buffer: &mut BytesMut, enough: usize) {
        if std::mem::take(&mut self.pong) {
            Frame { stream: 0, body: Body::Pong }.encode(buffer);
        }
        for id in std::mem::take(&mut self.gone) {
            Frame { stream: id, body: Body::Acknowledge(GONE) }.encode(buffer);
        }
        if std::mem::take(&mut self.tells_all) {
            self.tell_all();
        }
        while buffer.len() < enough
            && let Some(id) = self.ready.pop()
        {
            let Some(entry) = self.streams.get_mut(&id) else { continue };
            entry.is_ready = false;
            if entry.arrived != entry.told {
                entry.told = entry.arrived;
                entry.is_asked &= entry.unread() > 0;
                Frame { stream: id, body: Body::Acknowledge(entry.arrived) }.encode(buffer);
            }
            if let Some(message) = entry.unwritten().cloned() {
                entry.written += 1;
                entry.asked.store(true, Ordering::Relaxed);
                if message.weight() > enough / 4 {
                    // It rarely comes alone, and what grows piece by piece is copied each time.
                    buffer.reserve((enough + SMALL).saturating_sub(buffer.len()));
                }
                Frame { stream: id, body: Body::Message(message) }.encode(buffer);
            }
            if entry.unwritten().is_some() {
                self.make_ready(id);
            } else {
                self.asks |= std::mem::take(&mut entry.asks);
            }
            self.forget_if_over(id);
        }
        if std::mem::take(&mut self.asks) {
            Frame { stream: 0, body: Body::Ping }.encode(buffer);
        }
        self.say_farewell(buffer);
    }

    /// Whether it is the other side that opens streams of that number.
    pub(super) fn is_theirs(&self, id: u32) -> bool {
        id % 2 != self.next % 2
    }

    pub(super) fn forget_if_over(&mut self, id: u32) {
        let over = self.streams.get(&id).is_some_and(|entry| {
            entry.ended_here && entry.ended_there && entry.outgoing.is_empty() && entry.told == entry.arrived
        });
        if over {
            self.forget(id);
        }
    }

    pub(super) fn forget(&mut self, id: u32) {
        if let Some(entry) = self.streams.remove(&id) {
            self.terminals -= usize::from(entry.is_terminal);
            entry.window.close();
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_bounded(&self) {
        assert!(self.gone.len() <= MAX_STREAMS + 1);
        for entry in self.streams.values() {
            let kept = entry.outgoing.assert_bounded(MAX_WINDOW);
            assert!(entry.written <= entry.outgoing.len());
            if let Some(inbound) = &entry.inbound {
                inbound.assert_bounded(window_of(self.side));
            }
            assert!(entry.arrived_bytes - entry.arrived.bytes <= MAX_WINDOW as u64);
            assert!(
                entry.ended_here || entry.window.is_closed() || kept + entry.window.available_permits() <= MAX_WINDOW
            );
        }
    }

    /// False once it is closed.
    pub(super) fn hold(&mut self) -> bool {
        if !self.closed {
            self.holds += 1;
        }
        !self.closed
    }

    pub(super) fn release(&mut self) {
        self.holds -= 1;
    }

    pub(super) fn is_unused(&self) -> bool {
        self.streams.is_empty() && self.holds == 0
    }

    pub(super) fn is_settled(&self) -> bool {
        self.streams.values().all(|entry| entry.ended_here && entry.outgoing.is_empty())
    }

    pub(super) fn is_told(&self) -> bool {
        self.streams.values().all(|entry| !entry.ended_here || entry.outgoing.is_empty())
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.terminals = 0;
        self.opened = None;
        (self.ready, self.gone) = Default::default();
        for entry in std::mem::take(&mut self.streams).into_values() {
            entry.window.close();
        }
    }
}
