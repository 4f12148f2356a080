//! What is read at once from a program or a connection, and kept until the bastion has it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use crate::carrier::GOOD_DATA;

thread_local! {
    /// Where the next piece comes in, whoever's it is: a thousand connections on which nothing happens hold nothing.
    static NEXT: RefCell<BytesMut> = RefCell::default();
}

/// Reads what there is, as much as fits into one message; empty at the end. Cancel safe.
pub(super) async fn read(source: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    poll_fn(|context| {
        NEXT.with_borrow_mut(|next| {
            if next.capacity() == 0 {
                next.reserve(GOOD_DATA);
            }
            let read = ready!(poll_read_buf(Pin::new(&mut *source), context, next))?;
            // A program may write a byte at a time to somebody who does not read: thousands of pieces, each as large as
            // it is.
            if read > GOOD_DATA / 2 {
                return Poll::Ready(Ok(std::mem::take(next).freeze()));
            }
            let piece = Bytes::copy_from_slice(next);
            next.clear();
            Poll::Ready(Ok(piece))
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn pieces_are_whole_whatever_their_size() {
        for size in [1, GOOD_DATA / 2, GOOD_DATA / 2 + 1, GOOD_DATA] {
            let bytes = vec![7; size];
            assert_eq!(read(&mut &bytes[..]).await.unwrap(), bytes);
        }
        assert!(read(&mut &[][..]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_holds_nothing_and_gets_its_own() {
        let (mut one, mut end) = tokio::io::duplex(GOOD_DATA);
        let (mut other, mut other_end) = tokio::io::duplex(GOOD_DATA);
        let (mut first, mut second) = (pin!(read(&mut end)), pin!(read(&mut other_end)));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        other.write_all(b"other").await.unwrap();
        one.write_all(&[1; GOOD_DATA]).await.unwrap();
        assert_eq!(second.await.unwrap(), &b"other"[..]);
        assert_eq!(first.await.unwrap(), [1; GOOD_DATA][..]);
    }
}
