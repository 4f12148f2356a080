//! The WebSocket under a carrier's exec. tungstenite reads it, and answers what is to be answered; what the carrier
//! says is written here, since each byte of an upload passes: it is copied once, masked on the way, and none is moved
//! again however slowly the API server takes them.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message, protocol::Role};

use super::exec;

/// What is masked at once, while it is in the fastest cache. A multiple of the mask's length.
const PIECE: usize = 4096;

/// What comes on the channels.
pub(super) struct Incoming<S>(WebSocketStream<Answers<S>>);

/// Takes what is to be stdin: each item is a frame.
pub(super) struct Outgoing<S>(Arc<Mutex<Wire<S>>>);

/// Both ends of an exec that was upgraded to `socket`. They are for one task, which is woken for either.
pub(super) async fn split<S: AsyncRead + AsyncWrite + Unpin>(socket: S) -> (Incoming<S>, Outgoing<S>) {
    let wire = Arc::new(Mutex::new(Wire { socket, frames: Vec::new(), written: 0 }));
    let answers = Answers(wire.clone());
    let incoming = WebSocketStream::from_raw_socket(answers, Role::Client, Some(exec::web_socket())).await;
    (Incoming(incoming), Outgoing(wire))
}

/// What both ends share: whole frames, so that none begins within another.
struct Wire<S> {
    socket: S,
    frames: Vec<u8>,
    /// Bytes of them that the socket has.
    written: usize,
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Returns once the socket has them all. Whoever says nothing needs no memory for it.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.frames.len() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.frames[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        (self.frames, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Incoming<S> {
    type Item = Result<Message, tungstenite::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.0.poll_next_unpin(cx));
        if let Some(Ok(Message::Close(_))) = message {
            let _ = self.0.poll_flush_unpin(cx); // The answer. Nothing may follow it, so this is the end.
            return Poll::Ready(None);
        }
        Poll::Ready(message)
    }
}

impl<S: AsyncWrite + Unpin> Sink<Bytes> for Outgoing<S> {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_written(cx)
    }

    fn start_send(self: Pin<&mut Self>, stdin: Bytes) -> io::Result<()> {
        encode(&stdin, rand::random(), &mut lock(&self.0).frames);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.0);
        ready!(wire.poll_flush(cx))?;
        Pin::new(&mut wire.socket).poll_shutdown(cx)
    }
}

/// The socket as tungstenite sees it, which writes nothing but whole answers: to pings, and to the end.
struct Answers<S>(Arc<Mutex<Wire<S>>>);

impl<S: AsyncRead + Unpin> AsyncRead for Answers<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Answers<S> {
    /// Takes them once there is nothing else to write: however many pings come, few answers are kept.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, answers: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.0);
        ready!(wire.poll_written(cx))?;
        wire.frames.extend_from_slice(answers);
        Poll::Ready(Ok(answers.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).socket).poll_shutdown(cx)
    }
}

fn lock<S>(wire: &Mutex<Wire<S>>) -> MutexGuard<'_, Wire<S>> {
    wire.lock().expect("nothing panics while it holds the lock")
}

/// Adds a frame of stdin to `frames`, masked by `key`.
pub(super) fn encode(stdin: &[u8], mut key: [u8; 4], frames: &mut Vec<u8>) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Binary), mask: Some(key), ..FrameHeader::default() };
    let length = 1 + stdin.len() as u64;
    frames.reserve(header.len(length) + 1 + stdin.len());
    header.format(length, frames).expect("memory takes what is written to it");
    frames.push(exec::STDIN ^ key[0]);
    key.rotate_left(1);
    for piece in stdin.chunks(PIECE) {
        let at = frames.len();
        frames.extend_from_slice(piece);
        mask(&mut frames[at..], key);
    }
}

fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// Of which the longest is the longest message of a carrier behind as much data as is written at once: it broke the
    /// link, and each link after that.
    const SIZES: [usize; 12] = [0, 1, 2, 7, 124, 125, 65_534, 65_535, PIECE, PIECE + 1, 98_313, 98_303 + 262_148];

    fn stdin(size: usize) -> Bytes {
        (0..size).map(|at| (at % 251) as u8).collect()
    }

    /// Through a socket that takes a little at a time.
    #[tokio::test]
    async fn frames_are_whole_and_pings_answered_between_them() {
        let (near, far) = duplex(1000);
        let (mut incoming, mut outgoing) = split(near).await;
        let mut server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let send = async {
            for size in SIZES {
                outgoing.send(stdin(size)).await.unwrap();
            }
        };
        let read = async {
            let mut pings = Vec::new();
            while let Some(message) = incoming.next().await {
                match message.unwrap() {
                    Message::Ping(ping) => pings.push(ping[0]),
                    other => panic!("{other}"),
                }
            }
            pings
        };
        let serve = async {
            let (mut came, mut answered) = (Vec::new(), None);
            for ping in 0..SIZES.len() {
                server.send(Message::Ping(vec![ping as u8].into())).await.unwrap();
                while came.len() <= ping {
                    match server.next().await.unwrap().unwrap() {
                        Message::Binary(frame) => came.push(frame),
                        Message::Pong(pong) => answered = Some(pong[0]),
                        other => panic!("{other}"),
                    }
                }
            }
            while answered != Some(SIZES.len() as u8 - 1) {
                let Message::Pong(pong) = server.next().await.unwrap().unwrap() else { panic!("no answer") };
                answered = Some(pong[0]);
            }
            server.close(None).await.unwrap();
            assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))), "the end is answered");
            came
        };
        let (pings, (), came) = tokio::join!(read, send, serve);
        assert_eq!(pings, Vec::from_iter(0..SIZES.len() as u8));
        for (frame, size) in came.into_iter().zip(SIZES) {
            assert!(frame[0] == exec::STDIN && frame[1..] == stdin(size), "{size} bytes");
        }
    }

    #[tokio::test]
    async fn many_pings_of_a_server_that_takes_nothing_are_not_all_kept() {
        let (near, far) = duplex(1000);
        let (mut incoming, mut outgoing) = split(near).await;
        let mut server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let upload = stdin(98_304);
        let stalled = outgoing.send(upload);
        let pings = async {
            for _ in 0..10_000 {
                server.send(Message::Ping(Bytes::from_static(&[0; 125]))).await.unwrap();
                assert!(matches!(incoming.next().await, Some(Ok(Message::Ping(_)))));
            }
        };
        tokio::select! {
            _ = stalled => panic!("nobody takes it"),
            () = pings => {}
        }
        let kept = lock(&outgoing.0).frames.len();
        assert!(kept < 100_000, "{kept} bytes");
    }
}
