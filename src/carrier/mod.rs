//! Many streams over one link that may break: what the bastion and the agent in a pod say to each other.
//!
//! A stream carries [`Message`]s both ways, in order and exactly once. Each side keeps what it sent until the other has
//! it, which the stream's window bounds; when a link breaks, the next one goes on where it was. No stream waits for
//! another: the reader never waits for anybody, and streams write in turn, a frame each.
//! Knows neither SSH nor Kubernetes.

mod budget;
mod delivery;
mod entry;
mod farewell;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod inbox;
mod link;
#[cfg(test)]
pub(crate) mod linked;
mod pulse;
mod queue;
mod relink;
mod scarcity;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod turns;

pub use budget::Budget;
pub use frame::{GOOD_DATA, MAX_DATA, MAX_PAYLOAD, Message, json, parse};
pub use link::{Accepted, Keepalive, Link, LinkEvent, accept};
pub use stream::{Credit, Ended, Receiver, Sender, Stream};

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use state::State;

/// Of the protocol. A side that does not speak the other's ends the link with [`Error::Version`].
pub const VERSION: u32 = 1;

/// One end of a carrier. Cheap to clone.
#[derive(Clone)]
pub struct Carrier(Arc<Shared>);

/// What the other side asks, and the stream that it opened for it.
pub type Opened = (Bytes, Stream);

pub type Incoming = mpsc::UnboundedReceiver<Opened>;

/// Keeps a carrier from being closed for want of streams, for somebody who is about to open one.
pub struct Hold(Carrier);

struct Shared {
    /// The same on both sides; nobody else can guess it.
    name: String,
    state: Mutex<State>,
    /// Something is to be written.
    changed: Notify,
    /// Something came, or nothing will any more.
    heard: Notify,
    /// Ends the link in use.
    unlink: Mutex<CancellationToken>,
    /// Held by the link in use.
    linked: tokio::sync::Mutex<()>,
}

/// Who opens streams of which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Bastion,
    Agent,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the link was closed")]
    Closed,
    #[error("the link broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("nothing was heard for too long")]
    Silent,
    #[error("unexpected from the other side: {0}")]
    Protocol(&'static str),
    #[error("the other side speaks version {0} of the protocol, this one {VERSION}")]
    Version(u32),
    /// It has no memory of this carrier: it is not the process that it was.
    #[error("the other side does not know this carrier any more")]
    Forgotten,
    /// It ends, and takes nothing that it has not acknowledged.
    #[error("the other side ends")]
    Left,
    /// Another link serves the carrier now.
    #[error("another link took over")]
    Replaced,
    /// Its hello was long under way: a later link knows more of what both sides have.
    #[error("a later link came first")]
    Late,
}

impl Carrier {
    /// With memory for whatever the windows of its streams allow.
    pub fn new(side: Side, name: String) -> (Self, Incoming) {
        Self::within(Arc::default(), side, name)
    }

    /// With a share of the memory of many.
    pub fn within(budget: Arc<Budget>, side: Side, name: String) -> (Self, Incoming) {
        let (opened, incoming) = mpsc::unbounded_channel();
        let shared = Shared {
            name,
            state: Mutex::new(State::new(side, budget, opened)),
            changed: Notify::new(),
            heard: Notify::new(),
            unlink: Mutex::default(),
            linked: tokio::sync::Mutex::default(),
        };
        (Self(Arc::new(shared)), incoming)
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Opens a stream that asks `request` of the other side. Works without a link: it is asked once there is one. A
    /// request longer than [`MAX_PAYLOAD`] is not asked: its stream is over.
    pub fn open(&self, request: Bytes) -> Stream {
        let stream = self.0.state().open(&self.0, request);
        self.0.changed.notify_one();
        stream
    }

    /// None once it is closed.
    pub fn hold(&self) -> Option<Hold> {
        self.0.state().hold().then(|| Hold(self.clone()))
    }

    /// Streams that neither side has ended.
    pub fn streams(&self) -> usize {
        self.0.state().streams.len()
    }

    /// Whether a link serves it, or is about to.
    pub fn is_linked(&self) -> bool {
        self.0.linked.try_lock().is_err()
    }

    /// Whether it has neither streams nor anybody who holds it.
    pub fn is_unused(&self) -> bool {
        self.0.state().is_unused()
    }

    /// Streams that are opened from now on are over at once.
    pub fn is_closed(&self) -> bool {
        self.0.state().closed
    }

    /// Returns once this side has ended all streams and the other has heard of that.
    pub async fn settled(&self) {
        loop {
            let heard = self.0.heard.notified();
            if self.0.state().is_settled() {
                return;
            }
            heard.await;
        }
    }

    /// Returns once the other side has all that was said on the streams that this one has ended.
    pub async fn told(&self) {
        loop {
            let heard = self.0.heard.notified();
            if self.0.state().is_told() {
                return;
            }
            heard.await;
        }
    }

    /// Ends all streams: nothing can go on, and nothing else comes in.
    pub fn close(&self) {
        self.0.state().close();
        self.0.unlink().cancel();
        self.0.heard.notify_waiters();
    }

    /// Closes it, unless it is in use. Whether it is closed now.
    pub fn close_if_unused(&self) -> bool {
        let mut state = self.0.state();
        if state.is_unused() {
            state.close();
        }
        let closed = state.closed;
        drop(state);
        if closed {
            self.close();
        }
        closed
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.state().release();
    }
}

impl Shared {
    /// To whoever serves it. With nobody who does it is dropped, and so ends.
    fn hand_over(&self, opened: Opened) {
        let incoming = self.state().opened.clone();
        if let Some(incoming) = incoming {
            let _ = incoming.send(opened);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    fn unlink(&self) -> MutexGuard<'_, CancellationToken> {
        self.unlink.lock().expect("nothing panics while it holds the lock")
    }
}
