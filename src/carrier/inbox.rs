//! From the link to a stream's reader, whom the link never waits for.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::task::coop::cooperative;

use super::budget::Share;
use super::frame::Message;
use super::queue::{Full, Queue};

/// Where messages come in; dropped, those that are in are the last.
pub(super) struct Inlet(Arc<Inbox>);

/// Where they are taken out; dropped, nobody reads them.
pub(super) struct Outlet(Arc<Inbox>);

/// Why a message was not taken.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// The reader is gone.
    Left,
    /// More wait than can be meant.
    Full,
}

struct Inbox(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    queue: Queue,
    reader: Option<Waker>,
    is_closed: bool,
    is_left: bool,
}

pub(super) fn inbox(share: Arc<Share>) -> (Inlet, Outlet) {
    let contents = Contents { queue: Queue::new(share), ..Contents::default() };
    let inbox = Arc::new(Inbox(Mutex::new(contents)));
    (Inlet(inbox.clone()), Outlet(inbox))
}

impl Inlet {
    pub(super) fn push(&self, message: Message) -> Result<(), Refused> {
        let mut contents = self.0.contents();
        if contents.is_left {
            return Err(Refused::Left);
        }
        contents.queue.push(message, 0).map_err(|Full| Refused::Full)?;
        contents.wake();
        Ok(())
    }

    /// Throws away what waits.
    pub(super) fn clear(&self) {
        self.0.contents().queue = Queue::default();
    }

    /// What those that wait and that no window holds up take up, in bytes.
    pub(super) fn weightless_cost(&self) -> usize {
        self.0.contents().queue.weightless_cost()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_bounded(&self, window: usize) {
        self.0.contents().queue.assert_bounded(window);
    }
}

impl Outlet {
    /// The next message; none after the last. Cancel safe.
    pub(super) async fn receive(&mut self) -> Option<Message> {
        cooperative(poll_fn(|context| self.0.poll(context))).await
    }

    /// Nobody reads it any more. Returns the weight of what waited.
    pub(super) fn leave(&self) -> usize {
        let mut contents = self.0.contents();
        contents.is_left = true;
        std::mem::take(&mut contents.queue).weight(usize::MAX)
    }
}

impl Inbox {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut contents = self.contents();
        if let Some(message) = contents.queue.pop() {
            return Poll::Ready(Some(message));
        }
        if contents.is_closed {
            return Poll::Ready(None);
        }
        if contents.reader.as_ref().is_none_or(|reader| !reader.will_wake(context.waker())) {
            contents.reader = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl Contents {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let mut contents = self.0.contents();
        contents.is_closed = true;
        contents.wake();
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;

    use super::*;

    fn data(bytes: &'static [u8]) -> Message {
        Message::Data(Bytes::from_static(bytes))
    }

    #[tokio::test]
    async fn a_reader_hears_of_what_comes_and_of_the_end() {
        let (inlet, mut outlet) = inbox(Arc::default());
        assert!(outlet.receive().now_or_never().is_none());
        let reader = tokio::spawn(async move {
            let mut came = Vec::new();
            while let Some(message) = outlet.receive().await {
                came.push(message);
            }
            came
        });
        tokio::task::yield_now().await;
        inlet.push(data(b"a")).unwrap();
        tokio::task::yield_now().await;
        inlet.push(Message::Eof).unwrap();
        tokio::task::yield_now().await;
        drop(inlet);
        assert_eq!(reader.await.unwrap(), [data(b"a"), Message::Eof]);
    }

    #[test]
    fn nobody_keeps_what_nobody_reads() {
        let (inlet, outlet) = inbox(Arc::default());
        inlet.push(data(b"a")).unwrap();
        drop(outlet);
        assert_eq!(inlet.push(data(b"b")), Err(Refused::Left));
        assert!(inlet.0.contents().queue.is_empty());
    }
}
