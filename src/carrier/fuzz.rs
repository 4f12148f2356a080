//! Targets of fuzzing: what the other side of a carrier sends.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Sink, StreamExt, sink, stream};
use tokio::task::{JoinHandle, yield_now};

use super::frame::{Frame, Pieces};
use super::state::MAX_WINDOW;
use super::{Carrier, Error, Keepalive, Link, Message, Side, Stream, accept};

const NAME: &str = "one";
const KEEPALIVE: Keepalive = Keepalive { ping: Duration::from_secs(5), patience: 3, grace: Duration::ZERO };
/// No link that has nothing to wait for takes so long.
const LONG: Duration = Duration::from_secs(5);

/// Whatever the bytes: the frames are the same from any pieces, and each is written as it was read.
pub fn frame(wire: &[u8]) {
    let whole = decode(&mut [wire].into_iter());
    let pieces = decode(&mut wire.chunks(7));
    assert_eq!(whole, pieces);
    for frame in whole.0 {
        let mut again = BytesMut::new();
        frame.encode(&mut again);
        assert_eq!(decode(&mut [&again[..]].into_iter()), (vec![frame], true));
    }
}

/// The frames, and whether all was well with what followed.
fn decode(pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<Frame>, bool) {
    let (mut cut, mut frames) = (Pieces::default(), Vec::new());
    for piece in pieces {
        cut.add(Bytes::copy_from_slice(piece));
        loop {
            match cut.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

/// Whatever the other side sends, on two links one after the other: each ends with an error, what is kept stays within
/// bounds, and everybody who uses a stream hears of the end. The first byte says how this side behaves.
pub fn link(input: &[u8]) {
    let Some((&how, wire)) = input.split_first() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without threads or sockets").block_on(async {
        let ended = tokio::time::timeout(LONG, converse(how, wire)).await;
        assert!(ended.is_ok(), "somebody waits for what never comes");
    });
}

async fn converse(how: u8, wire: &[u8]) {
    let side = if how & 1 == 0 { Side::Bastion } else { Side::Agent };
    let (is_stalled, is_read) = (how & 2 != 0, how & 4 == 0);
    let (carrier, mut opened) = Carrier::new(side, NAME.into());
    let mut users: Vec<_> =
        (0..2).map(|_| tokio::spawn(use_stream(carrier.open(Bytes::from_static(b"{}")), is_read))).collect();
    let incoming: JoinHandle<Vec<_>> = tokio::spawn(async move {
        let mut users = Vec::new();
        while let Some((_, stream)) = opened.recv().await {
            users.push(tokio::spawn(use_stream(stream, is_read)));
        }
        users
    });
    let (first, second) = wire.split_at(if how & 8 == 0 { wire.len() } else { wire.len() / 2 });
    for wire in [first, second] {
        let ended = linked(&carrier, side, wire, if is_stalled { 1 } else { usize::MAX }).await;
        assert!(ended.is_err());
        carrier.0.state().assert_bounded();
    }
    carrier.close();
    drop(carrier);
    for user in users.drain(..) {
        user.await.expect("who uses a stream does not panic");
    }
    for user in incoming.await.expect("it waits, and no more") {
        user.await.expect("who uses a stream does not panic");
    }
}

/// One link on which the other side sends `wire`, and takes but the first `taken` writes.
async fn linked(carrier: &Carrier, side: Side, wire: &[u8], taken: usize) -> Result<(), Error> {
    let pieces: Vec<Bytes> = wire.chunks(50).map(Bytes::copy_from_slice).collect();
    let mut source = Box::pin(stream::iter(pieces).then(|piece| async {
        yield_now().await;
        Ok::<_, Infallible>(piece)
    }));
    let sink: Pin<Box<dyn Sink<Bytes, Error = Infallible>>> =
        Box::pin(sink::unfold(taken, |taken, _: Bytes| async move {
            match taken.checked_sub(1) {
                Some(left) => Ok(left),
                None => std::future::pending().await,
            }
        }));
    match side {
        Side::Bastion => carrier.link(Link { source, sink }, KEEPALIVE, |_| {}).await,
        Side::Agent => {
            let accepted = accept(&mut source).await?;
            carrier.accepted(Link { source, sink }, accepted).await
        }
    }
}

/// Sends three windows full, and says something in answer to all that it reads.
async fn use_stream(stream: Stream, is_read: bool) {
    let Stream { sender, mut receiver } = stream;
    let send = async {
        let _ = sender.data(Bytes::from_static(&[b'x'; 3 * MAX_WINDOW])).await;
        let _ = sender.send(Message::Eof);
    };
    let read = async {
        while is_read && let Some((_, _credit)) = receiver.receive().await {
            let _ = sender.send(Message::control(&"heard"));
        }
    };
    tokio::join!(send, read);
}

#[cfg(test)]
pub(crate) mod seeds {
    use super::super::frame::{Acknowledgement, Body, Hello};
    use super::super::{VERSION, json};
    use super::*;

    fn wire(frames: &[(u32, Body)]) -> Vec<u8> {
        let mut wire = BytesMut::new();
        for (stream, body) in frames {
            Frame { stream: *stream, body: body.clone() }.encode(&mut wire);
        }
        wire.to_vec()
    }

    fn hello(received: Vec<(u32, u64)>) -> (u32, Body) {
        (
            0,
            Body::Hello(Hello {
                version: VERSION,
                carrier: NAME.into(),
                grace: Some(60),
                received,
                ..Hello::default()
            }),
        )
    }

    fn talk() -> Vec<(u32, Body)> {
        let acknowledge = |messages, bytes| Body::Acknowledge(Acknowledgement { messages, bytes });
        let data = || Message::Data(Bytes::from_static(&[b'd'; 40]));
        let mut talk = vec![(0, Body::Ping)];
        // Whichever of them are ours, the others are theirs.
        for stream in [1, 2] {
            talk.extend(
                [
                    Message::Control(json(&"x")),
                    data(),
                    Message::Stderr(Bytes::from_static(b"e")),
                    Message::Eof,
                    Message::End,
                ]
                .map(|message| (stream, Body::Message(message))),
            );
            talk.extend([(stream, acknowledge(1, 0)), (stream, acknowledge(3, 32_000)), (0, Body::Pong)]);
            talk.push((stream, acknowledge(u64::MAX, u64::MAX)));
        }
        talk
    }

    pub(crate) fn frames() -> Vec<Vec<u8>> {
        let each = talk().into_iter().map(|frame| wire(&[frame]));
        each.chain([wire(&talk()), wire(&[hello(vec![(1, 2), (3, u64::MAX)])])]).collect()
    }

    pub(crate) fn links() -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for how in 0..16 {
            let theirs = if how & 1 == 0 { 2 } else { 1 };
            let open = |stream| (stream, Body::Message(Message::Open(Bytes::from_static(b"{}"))));
            let first = [vec![hello(vec![]), open(theirs)], talk(), vec![open(theirs + 2)]].concat();
            let again = [vec![hello(vec![(1, 1), (2, 1), (3, 1), (4, 1)])], talk()].concat();
            seeds.push([vec![how], wire(&first), wire(&again)].concat());
        }
        seeds
    }
}
