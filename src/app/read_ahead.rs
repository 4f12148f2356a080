//! A connection that is read in large pieces.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::io::poll_read_buf;

/// Of one read, in bytes.
const PIECE: usize = 64 * 1024;

/// One that brought as much, and all there was: more is on its way.
const BUSY: usize = PIECE / 4;
/// Until that is looked for. Each piece by itself costs as much as this brings together.
const REST: Duration = Duration::from_millis(1);

/// rustls asks for 4 KiB at a time, which is eight system calls for each frame of an exec.
pub(super) struct ReadAhead {
    stream: TcpStream,
    /// Takes no memory while it is empty.
    ahead: BytesMut,
    rest: Option<Pin<Box<Sleep>>>,
}

impl ReadAhead {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: BytesMut::new(), rest: None }
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(cx));
                self.rest = None;
            }
            let mut piece = BytesMut::with_capacity(PIECE);
            let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut piece))?;
            if (BUSY..PIECE).contains(&read) {
                self.rest = Some(Box::pin(sleep(REST)));
            }
            self.ahead = piece;
        }
        let read = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..read]);
        self.ahead.advance(read);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connection for ReadAhead {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn all_comes_in_order_whatever_is_asked_for_and_then_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut near = ReadAhead::new(listener.accept().await.unwrap().0);
        let sent: Vec<u8> = (0..3 * PIECE + 7).map(|at| (at % 251) as u8).collect();
        let all = sent.clone();
        tokio::spawn(async move { far.write_all(&all).await });
        let (mut came, mut asked) = (Vec::new(), [1, 4096, 5, 3 * PIECE].into_iter().cycle());
        loop {
            let mut piece = vec![0; asked.next().unwrap()];
            match near.read(&mut piece).await.unwrap() {
                0 => break,
                read => came.extend_from_slice(&piece[..read]),
            }
        }
        assert!(came == sent);
        assert_eq!(near.ahead.capacity(), 0);
    }

    #[tokio::test]
    async fn what_comes_in_quick_succession_is_read_together() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut near = ReadAhead::new(listener.accept().await.unwrap().0);
        let mut piece = vec![0; PIECE];
        for part in [BUSY, BUSY / 2, BUSY / 2] {
            far.write_all(&vec![0; part]).await.unwrap();
            if part == BUSY {
                near.read_exact(&mut piece[..BUSY]).await.unwrap();
            }
        }
        assert!(near.read(&mut piece).now_or_never().is_none());
        assert_eq!(near.read(&mut piece).await.unwrap(), BUSY);
        far.write_all(b"x").await.unwrap();
        assert_eq!(near.read(&mut piece).await.unwrap(), 1);
    }
}
