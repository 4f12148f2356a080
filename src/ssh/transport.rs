//! The byte stream under a connection: it can be cut off at any time, and is read more slowly on demand.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::throttle::{Pace, Throttle};

/// Wraps the stream that russh gets. russh cannot be told to stop while it exchanges keys or waits for a socket that
/// nobody reads; a stream that fails stops it always.
pub(super) struct Transport<S> {
    stream: BufReader<S>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    throttle: Arc<Throttle>,
    /// The wait before the next read.
    wait: Option<BoxFuture<'static, ()>>,
}

/// russh reads each packet in two pieces; this makes fewer system calls of them. Also the most that one read of a slow
/// connection gets.
const BUFFER: usize = 16 * 1024;

impl<S: AsyncRead> Transport<S> {
    /// `cut` ends the stream with an error.
    pub(super) fn new(stream: S, cut: CancellationToken, throttle: Arc<Throttle>) -> Self {
        let stream = BufReader::with_capacity(BUFFER, stream);
        Self { stream, cut: Box::pin(cut.cancelled_owned()), throttle, wait: None }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Peer + Unpin> AsyncRead for Transport<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let pace = self.throttle.pace();
        if pace != Pace::Free && self.stream.buffer().is_empty() {
            let throttle = self.throttle.clone();
            let wait = self.wait.get_or_insert_with(|| Box::pin(throttle.wait(pace)));
            ready!(wait.as_mut().poll(cx));
            // What the client sent before it left might take minutes to read at this speed, and nobody waits for it.
            if pace == Pace::Trickle && self.stream.get_ref().hung_up()? {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        self.wait = None;
        if pace != Pace::Trickle {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let data = ready!(Pin::new(&mut self.stream).poll_fill_buf(cx))?;
        let read = data.len().min(buf.remaining());
        buf.put_slice(&data[..read]);
        Pin::new(&mut self.stream).consume(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Who is at the other end.
pub(super) trait Peer {
    /// Whether the peer will send no more.
    fn hung_up(&self) -> io::Result<bool>;
}

impl Peer for TcpStream {
    fn hung_up(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(self, PollFlags::RDHUP)];
        poll(&mut polled, Some(&Timespec::default()))?;
        Ok(polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR))
    }
}
