//! A connection that is read in large pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// Of one read, in bytes.
const PIECE: usize = 64 * 1024;

/// rustls asks for 4 KiB at a time, which is eight system calls for each frame of an exec.
pub(super) struct ReadAhead {
    stream: TcpStream,
    /// Takes no memory while it is empty.
    ahead: BytesMut,
}

impl ReadAhead {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: BytesMut::new() }
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let mut piece = BytesMut::with_capacity(PIECE);
            ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut piece))?;
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
}
