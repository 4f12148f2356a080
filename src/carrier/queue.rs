//! Messages of one stream that wait, for their reader or for the link: in order, and in bounded memory whatever they
//! are.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::budget::Share;
use super::frame::{MAX_DATA, Message};

/// Messages without weight that may wait: no window holds them up.
pub(super) const MAX_WEIGHTLESS: usize = 8 * 1024;
/// Bytes in them.
pub(super) const MAX_WEIGHTLESS_BYTES: usize = 1024 * 1024;
/// A payload up to this is copied if it has to wait: as a part of what was read from a link it holds all of that, and
/// many small ones weigh more than their bytes.
const SMALL: usize = 8 * 1024;
/// A payload up to this is copied in any case: a link's piece is many times as large.
const TINY: usize = 1024;
/// In a longer queue stdout and stderr are joined each by itself: else one that alternates is a message for each byte.
const LONG: usize = 64;
/// An empty queue does not keep room for more than this.
const ROOM: usize = 1024;

#[derive(Default)]
pub(super) struct Queue {
    messages: VecDeque<Message>,
    weightless: usize,
    weightless_bytes: usize,
    /// What all take up, which `share` counts.
    cost: usize,
    share: Arc<Share>,
}

/// More messages wait than can be meant.
#[derive(Debug, PartialEq)]
pub(super) struct Full;

impl Queue {
    pub(super) fn new(share: Arc<Share>) -> Self {
        let mut queue = Self::default();
        queue.share = share;
        queue
    }

    /// Adds a message behind all others. The first `settled` stay as they are.
    pub(super) fn push(&mut self, mut message: Message, settled: usize) -> Result<(), Full> {
        let (size, cost) = (message.payload().len(), cost(&message));
        let waits = self.messages.len() > settled && size <= SMALL;
        let is_own = waits || size <= TINY || self.share.is_scarce();
        if message.weight() > 0 {
            if waits && self.join(&message, settled) {
                self.count(cost);
                return Ok(());
            }
        } else if message != Message::End {
            let bytes = self.weightless_bytes + size;
            if self.weightless == MAX_WEIGHTLESS || bytes > MAX_WEIGHTLESS_BYTES {
                return Err(Full);
            }
            self.weightless += 1;
            self.weightless_bytes = bytes;
        }
        if is_own && let Some(payload) = message.payload_mut() {
            *payload = Bytes::copy_from_slice(payload);
        }
        self.messages.push_back(message);
        self.count(cost);
        Ok(())
    }

    fn count(&mut self, cost: usize) {
        self.cost += cost;
        self.share.keep(cost);
    }

    /// Adds data to the last that waits on its lane. False if there is none, or no room in it.
    fn join(&mut self, message: &Message, settled: usize) -> bool {
        let lanes = if self.messages.len() > LONG { 2 } else { 1 };
        for waiting in self.messages.range_mut(settled..).rev().take(lanes) {
            match (waiting, message) {
                (Message::Data(data), Message::Data(more)) | (Message::Stderr(data), Message::Stderr(more)) => {
                    let fits = data.len() + more.len() <= MAX_DATA;
                    if fits {
                        *data = joined(std::mem::take(data), more);
                    }
                    return fits;
                }
                (Message::Data(_) | Message::Stderr(_), _) => {}
                _ => return false,
            }
        }
        false
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.left(&message);
        self.trim();
        Some(message)
    }

    /// Removes the first `number`, which are there.
    pub(super) fn remove(&mut self, number: usize) {
        for _ in 0..number {
            if let Some(message) = self.messages.pop_front() {
                self.left(&message);
            }
        }
        self.trim();
    }

    fn left(&mut self, message: &Message) {
        let cost = cost(message);
        self.cost -= cost;
        self.share.give(cost);
        if is_weightless(message) {
            self.weightless -= 1;
            self.weightless_bytes -= message.payload().len();
        }
    }

    /// What the messages without weight take up.
    pub(super) fn weightless_cost(&self) -> usize {
        self.weightless_bytes + self.weightless * size_of::<Message>()
    }

    fn trim(&mut self) {
        if self.messages.is_empty() && self.messages.capacity() > ROOM {
            self.messages = VecDeque::new();
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<&Message> {
        self.messages.get(at)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Of the first `number`.
    pub(super) fn weight(&self, number: usize) -> usize {
        self.messages.iter().take(number).map(Message::weight).sum()
    }

    /// Of all; no more than `window`.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_bounded(&self, window: usize) -> usize {
        let weightless = self.messages.iter().filter(|message| is_weightless(message));
        let bytes: Vec<usize> = weightless.map(|message| message.payload().len()).collect();
        assert_eq!((bytes.len(), bytes.iter().sum::<usize>()), (self.weightless, self.weightless_bytes));
        assert!(self.weightless <= MAX_WEIGHTLESS && self.weightless_bytes <= MAX_WEIGHTLESS_BYTES);
        // Some between each two without weight, as many that are settled, and data that cannot be joined.
        assert!(self.len() <= 5 * (MAX_WEIGHTLESS + 1) + LONG + 4 * window / SMALL, "{}", self.len());
        let weight = self.weight(usize::MAX);
        assert!(weight <= window, "{weight}");
        assert_eq!(self.cost, self.messages.iter().map(cost).sum::<usize>());
        weight
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.share.give(self.cost);
    }
}

/// No window holds them up. The end is the last.
fn is_weightless(message: &Message) -> bool {
    message.weight() == 0 && *message != Message::End
}

/// Data is joined where it waits; of what is not, each takes up a place.
fn cost(message: &Message) -> usize {
    message.payload().len() + if is_weightless(message) { size_of::<Message>() } else { 0 }
}

/// In memory of its own.
fn joined(data: Bytes, more: &[u8]) -> Bytes {
    let mut own = data.try_into_mut().unwrap_or_else(|shared| {
        let mut own = BytesMut::with_capacity(2 * (shared.len() + more.len()));
        own.extend_from_slice(&shared);
        own
    });
    own.extend_from_slice(more);
    own.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = 1024 * 1024;

    fn data(bytes: &'static [u8]) -> Message {
        Message::Data(Bytes::from_static(bytes))
    }

    fn stderr(bytes: &'static [u8]) -> Message {
        Message::Stderr(Bytes::from_static(bytes))
    }

    fn control(length: usize) -> Message {
        Message::Control(vec![b'c'; length].into())
    }

    fn all(queue: &mut Queue) -> Vec<Message> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    /// Each byte had a message, a place in the queue, and all of what was read with it.
    #[test]
    fn a_window_of_single_bytes_takes_little_more_than_its_bytes() {
        let read = Bytes::from(vec![b'x'; WINDOW]);
        for lanes in [1, 2] {
            let mut queue = Queue::default();
            for at in 0..WINDOW {
                let byte = read.slice(at..=at);
                let message = if at % lanes == 0 { Message::Data(byte) } else { Message::Stderr(byte) };
                queue.push(message, 0).unwrap();
            }
            assert_eq!(queue.assert_bounded(WINDOW), WINDOW);
            assert!(queue.len() <= LONG + 2 * WINDOW / MAX_DATA, "{}", queue.len());
            let of_stdout = |message: &Message| if matches!(message, Message::Data(_)) { message.weight() } else { 0 };
            let first = queue.pop().as_ref().map_or(0, of_stdout);
            assert!(read.is_unique(), "what waits holds all that was read with it");
            let others: usize = all(&mut queue).iter().map(of_stdout).sum();
            assert_eq!(first + others, WINDOW / lanes);
        }
    }

    #[test]
    fn what_waits_is_joined_on_its_lane_and_in_order() {
        let mut queue = Queue::default();
        let sent = [data(b"a"), data(b"b"), stderr(b"c"), stderr(b"d"), data(b"e"), control(1), data(b"f"), data(b"g")];
        for message in sent {
            queue.push(message, 0).unwrap();
        }
        assert_eq!(all(&mut queue), [data(b"ab"), stderr(b"cd"), data(b"e"), control(1), data(b"fg")]);
    }

    #[test]
    fn order_on_a_lane_holds_in_a_long_queue_too() {
        let (mut queue, mut sent) = (Queue::default(), [Vec::new(), Vec::new()]);
        for at in 0..20_000_usize {
            let bytes = vec![(at % 251) as u8; 1 + at * 7 % 200 + if at % 97 == 0 { SMALL } else { 0 }];
            let lane = usize::from(at % 3 == 0);
            sent[lane].extend_from_slice(&bytes);
            let message = if lane == 0 { Message::Data(bytes.into()) } else { Message::Stderr(bytes.into()) };
            queue.push(message, 0).unwrap();
        }
        let mut came = [Vec::new(), Vec::new()];
        for message in all(&mut queue) {
            came[usize::from(matches!(message, Message::Stderr(_)))].extend_from_slice(message.payload());
        }
        assert!(came == sent);
    }

    #[test]
    fn what_is_settled_is_not_touched() {
        let mut queue = Queue::default();
        for settled in [0, 1, 1, 1] {
            queue.push(data(b"x"), settled).unwrap();
        }
        assert_eq!(all(&mut queue), [data(b"x"), data(b"xxx")]);
    }

    #[test]
    fn messages_without_weight_are_counted_and_measured() {
        let mut queue = Queue::default();
        for _ in 0..MAX_WEIGHTLESS {
            queue.push(data(b""), 0).unwrap();
        }
        assert_eq!(queue.push(Message::Eof, 0), Err(Full));
        queue.push(Message::End, 0).unwrap();
        queue.remove(2);
        queue.push(Message::Eof, 0).unwrap();
        queue.assert_bounded(WINDOW);
        assert_eq!(all(&mut queue).len(), MAX_WEIGHTLESS);
        for _ in 0..4 {
            queue.push(control(MAX_WEIGHTLESS_BYTES / 4), 0).unwrap();
        }
        assert_eq!(queue.push(control(1), 0), Err(Full));
        queue.assert_bounded(WINDOW);
    }
}
