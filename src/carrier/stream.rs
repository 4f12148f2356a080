//! One stream, as its user holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::Shared;
use super::frame::Message;
use super::inbox::Outlet;
use super::scarcity::Room;

/// Both halves of a stream. Once both are dropped it ends, and the other side hears of it.
pub struct Stream {
    pub sender: Sender,
    pub receiver: Receiver,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    stream: Arc<Handle>,
    window: Arc<Semaphore>,
}

pub struct Receiver {
    stream: Arc<Handle>,
    messages: Outlet,
    asked: Arc<AtomicBool>,
}

/// The room that a message takes up. Dropped, the other side may send as much again.
pub struct Credit {
    stream: Arc<Handle>,
    weight: usize,
}

/// The other side has ended the stream, or can never be reached again.
#[derive(Debug, thiserror::Error)]
#[error("the stream has ended")]
pub struct Ended;

struct Handle {
    shared: Arc<Shared>,
    id: u32,
}

impl Stream {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: u32,
        window: Arc<Semaphore>,
        messages: Outlet,
        asked: Arc<AtomicBool>,
    ) -> Self {
        let stream = Arc::new(Handle { shared, id });
        Self { sender: Sender { stream: stream.clone(), window }, receiver: Receiver { stream, messages, asked } }
    }
}

impl Sender {
    /// Sends data, once the other side has room for it.
    ///
    /// Cancel safe between pieces only: a caller that gives up has to give up the stream.
    pub async fn data(&self, data: Bytes) -> Result<(), Ended> {
        self.weighty(data, Message::Data).await
    }

    /// Sends data on the lane of stderr.
    pub async fn stderr(&self, data: Bytes) -> Result<(), Ended> {
        self.weighty(data, Message::Stderr).await
    }

    async fn weighty(&self, mut data: Bytes, message: fn(Bytes) -> Message) -> Result<(), Ended> {
        while !data.is_empty() {
            let Room { piece, spared, .. } = self.stream.room();
            let piece = data.split_to(data.len().min(piece));
            let wanted = piece.len() + spared;
            let mut permits = self.window.acquire_many(wanted as u32).await.map_err(|_| Ended)?;
            permits.split(piece.len()).expect("so many and more are there").forget();
            self.send(message(piece))?;
        }
        Ok(())
    }

    /// Somebody types on this stream, and waits for what it brings: others leave room on the way.
    pub fn mark_terminal(&self) {
        self.stream.shared.state().mark_terminal(self.stream.id);
    }

    /// Sends what has no weight, at once.
    pub fn send(&self, message: Message) -> Result<(), Ended> {
        let Handle { shared, id } = &*self.stream;
        let sent = shared.state().send(*id, message);
        shared.changed.notify_one();
        if sent { Ok(()) } else { Err(Ended) }
    }
}

impl Receiver {
    /// The next message; none once the other side has ended the stream. Cancel safe.
    pub async fn receive(&mut self) -> Option<(Message, Credit)> {
        let message = self.messages.receive().await?;
        let credit = Credit { stream: self.stream.clone(), weight: message.weight() };
        Some((message, credit))
    }

    /// Whether the other side may have heeded what the stream asks for: it went out, and nothing told since that it is
    /// not known there.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    /// What waits makes room as if it were read: else what the other side still sends, to be thrown away, would lack
    /// it.
    fn drop(&mut self) {
        let Handle { shared, id } = &*self.stream;
        let due = {
            let mut state = shared.state();
            let left = self.messages.leave();
            state.taken(*id, left)
        };
        if due {
            shared.changed.notify_one();
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        let Handle { shared, id } = &*self.stream;
        let due = shared.state().taken(*id, self.weight);
        if due {
            shared.changed.notify_one();
        }
    }
}

impl Handle {
    fn room(&self) -> Room {
        let room = self.shared.state().room(self.id);
        if room.asks {
            self.shared.changed.notify_one();
        }
        room
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state().send(self.id, Message::End);
        self.shared.changed.notify_one();
    }
}
