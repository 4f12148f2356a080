//! What travels: frames of `u32 length | u8 kind | u32 stream | payload`, big endian; the length counts what follows
//! it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;

/// Of the buffers through which API server, kubelet and runtime copy, in bytes: a few bytes more than fill them double
/// their reads.
pub(super) const COPIED_AT_ONCE: usize = 32 * 1024;
/// Largest payload of a [`Message::Data`] or [`Message::Stderr`], in bytes; what is longer is cut. SSH's packets have
/// as much.
pub const MAX_DATA: usize = 32 * 1024;
/// Of a payload that fills one of those buffers with its header, in bytes: for data that could be cut anywhere.
pub const GOOD_DATA: usize = COPIED_AT_ONCE - HEADER;
/// Largest payload of any message, in bytes. A stream that sends a longer one ends.
pub const MAX_PAYLOAD: usize = MAX_FRAME - (HEADER - 4);
/// Largest frame that is taken, in bytes.
const MAX_FRAME: usize = 256 * 1024;
const HEADER: usize = 9;

/// What a frame's second field says. Older and newer agents must agree: a number is never given to another kind.
mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const PING: u8 = 1;
    pub(super) const PONG: u8 = 2;
    pub(super) const ACKNOWLEDGE: u8 = 3;
    pub(super) const OPEN: u8 = 4;
    pub(super) const DATA: u8 = 5;
    pub(super) const STDERR: u8 = 6;
    pub(super) const EOF: u8 = 7;
    pub(super) const CONTROL: u8 = 8;
    pub(super) const END: u8 = 9;
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    /// Odd for the bastion's streams, even for the agent's, 0 for the carrier itself.
    pub(super) stream: u32,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// The first frame each way.
    Hello(Hello),
    /// Asks for an acknowledgement of everything, and proves life.
    Ping,
    Pong,
    Acknowledge(Acknowledgement),
    Message(Message),
}

/// What each side says first on a new link.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Hello {
    pub(super) version: u32,
    /// The carrier that this link continues or begins.
    pub(super) carrier: String,
    /// The number of the link, counted by the side that links: of two hellos the one that was said later may come
    /// first.
    #[serde(default)]
    pub(super) link: Option<u64>,
    /// For how many seconds this side waits for the next link when this one breaks.
    #[serde(default)]
    pub(super) grace: Option<u64>,
    /// For how many seconds the other side may hear nothing from this one, which is gone then.
    #[serde(default)]
    pub(super) silence: Option<u64>,
    /// Bytes of data on each stream that this side takes before it must have acknowledged some. Always the same; those
    /// who say nothing take 1 MiB.
    #[serde(default)]
    pub(super) window: Option<u64>,
    /// How many messages of each stream have arrived, so that the other side repeats the rest.
    pub(super) received: Vec<(u32, u64)>,
}

/// Counts from the beginning of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Acknowledgement {
    /// Messages that arrived; they need not be kept any longer.
    pub(super) messages: u64,
    /// Bytes of data that were taken; so many more may be sent.
    pub(super) bytes: u64,
}

/// What one side of a stream tells the other: in order, exactly once, across broken links.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first message of each stream, in the words of whoever uses the carrier.
    Open(Bytes),
    Data(Bytes),
    /// A second, separate lane for a program's stderr.
    Stderr(Bytes),
    /// No more data follows.
    Eof,
    /// A small message that no window holds up, in the words of whoever uses the carrier.
    Control(Bytes),
    /// This side neither sends nor reads any more.
    End,
}

impl Message {
    /// A control message.
    pub fn control(value: &impl Serialize) -> Self {
        Self::Control(json(value))
    }

    /// Whether the other side takes it.
    pub(super) fn fits(&self) -> bool {
        self.payload().len() <= MAX_PAYLOAD
    }

    pub(super) fn payload(&self) -> &[u8] {
        match self {
            Self::Open(payload) | Self::Data(payload) | Self::Stderr(payload) | Self::Control(payload) => payload,
            Self::Eof | Self::End => &[],
        }
    }

    pub(super) fn payload_mut(&mut self) -> Option<&mut Bytes> {
        match self {
            Self::Open(payload) | Self::Data(payload) | Self::Stderr(payload) | Self::Control(payload) => Some(payload),
            Self::Eof | Self::End => None,
        }
    }

    /// Bytes that count against the window.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Data(data) | Self::Stderr(data) => data.len(),
            _ => 0,
        }
    }
}

/// `value` as a payload.
pub fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("our own messages serialise").into()
}

/// Reads a payload that the other side wrote as JSON.
pub fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|_| Error::Protocol("a payload that is not what it should be"))
}

impl Frame {
    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        let hello;
        let acknowledged;
        let (kind, payload): (u8, &[u8]) = match &self.body {
            Body::Hello(value) => {
                hello = json(value);
                (kind::HELLO, &hello)
            }
            Body::Ping => (kind::PING, &[]),
            Body::Pong => (kind::PONG, &[]),
            Body::Acknowledge(Acknowledgement { messages, bytes }) => {
                acknowledged = ((u128::from(*messages) << 64) | u128::from(*bytes)).to_be_bytes();
                (kind::ACKNOWLEDGE, &acknowledged)
            }
            Body::Message(Message::Open(payload)) => (kind::OPEN, payload),
            Body::Message(Message::Data(payload)) => (kind::DATA, payload),
            Body::Message(Message::Stderr(payload)) => (kind::STDERR, payload),
            Body::Message(Message::Eof) => (kind::EOF, &[]),
            Body::Message(Message::Control(payload)) => (kind::CONTROL, payload),
            Body::Message(Message::End) => (kind::END, &[]),
        };
        buffer.reserve(HEADER + payload.len());
        buffer.put_u32((HEADER - 4 + payload.len()) as u32);
        buffer.put_u8(kind);
        buffer.put_u32(self.stream);
        buffer.extend_from_slice(payload);
    }

    /// The next whole frame at the front of `bytes`, without copying its payload.
    fn decode(bytes: &mut Bytes) -> Result<Option<Self>, Error> {
        let Some(size) = size(bytes)?.filter(|size| *size <= bytes.len()) else { return Ok(None) };
        let mut frame = bytes.split_to(size);
        frame.advance(4);
        let kind = frame.get_u8();
        let stream = frame.get_u32();
        let payload = frame;
        let body = match kind {
            kind::HELLO => Body::Hello(parse(&payload)?),
            kind::PING => Body::Ping,
            kind::PONG => Body::Pong,
            kind::ACKNOWLEDGE => {
                let counts = payload[..].try_into().map_err(|_| Error::Protocol("an acknowledgement of nothing"))?;
                let counts = u128::from_be_bytes(counts);
                Body::Acknowledge(Acknowledgement { messages: (counts >> 64) as u64, bytes: counts as u64 })
            }
            kind::OPEN => Body::Message(Message::Open(payload)),
            kind::DATA => Body::Message(Message::Data(payload)),
            kind::STDERR => Body::Message(Message::Stderr(payload)),
            kind::EOF => Body::Message(Message::Eof),
            kind::CONTROL => Body::Message(Message::Control(payload)),
            kind::END => Body::Message(Message::End),
            _ => return Err(Error::Protocol("a frame of an unknown kind")),
        };
        Ok(Some(Self { stream, body }))
    }
}

/// Of the frame that begins with `bytes`, all in all; none if there is too little of it to know.
fn size(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let Some(length) = bytes.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) else {
        return Ok(None);
    };
    match (HEADER - 4..=MAX_FRAME).contains(&length) {
        true => Ok(Some(4 + length)),
        false => Err(Error::Protocol("a frame of an impossible length")),
    }
}

/// Makes frames of what comes in pieces of any size. Copies nothing but frames that lie in more than one.
#[derive(Default)]
pub(super) struct Pieces {
    /// A part of one frame.
    begun: BytesMut,
    piece: Bytes,
}

impl Pieces {
    /// Adds the next piece, after the last had no whole frame any more.
    pub(super) fn add(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    pub(super) fn next(&mut self) -> Result<Option<Frame>, Error> {
        while !self.begun.is_empty() {
            let size = size(&self.begun)?;
            let missing = size.unwrap_or(4) - self.begun.len();
            if missing == 0 {
                return Frame::decode(&mut std::mem::take(&mut self.begun).freeze());
            }
            if self.piece.is_empty() {
                return Ok(None);
            }
            let more = self.piece.split_to(missing.min(self.piece.len()));
            self.begun.extend_from_slice(&more);
        }
        let frame = Frame::decode(&mut self.piece)?;
        if frame.is_none() {
            self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
        }
        Ok(frame)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.piece.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Frame> {
        let data = Bytes::from_static(b"data");
        let hello = Hello {
            version: 1,
            carrier: "c".into(),
            link: Some(3),
            grace: Some(60),
            silence: Some(70),
            window: Some(7),
            received: vec![(1, 2)],
        };
        let mut bodies = vec![Body::Hello(hello), Body::Ping, Body::Pong];
        bodies.push(Body::Acknowledge(Acknowledgement { messages: u64::MAX, bytes: 7 }));
        let open = Message::Open(data.clone());
        let control = Message::Control(Bytes::new());
        bodies.extend(
            [open, Message::Data(data.clone()), Message::Stderr(data), Message::Eof, control, Message::End]
                .map(Body::Message),
        );
        bodies.into_iter().enumerate().map(|(stream, body)| Frame { stream: stream as u32, body }).collect()
    }

    #[test]
    fn frames_come_back_from_any_pieces() {
        let mut wire = BytesMut::new();
        for frame in all() {
            frame.encode(&mut wire);
        }
        for size in [1, 3, 7, 40, wire.len()] {
            let (mut pieces, mut seen) = (Pieces::default(), Vec::new());
            for piece in wire.chunks(size) {
                pieces.add(Bytes::copy_from_slice(piece));
                while let Some(frame) = pieces.next().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, all());
            assert!(pieces.is_empty());
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        for frame in all() {
            let mut wire = BytesMut::new();
            frame.encode(&mut wire);
            for at in 0..wire.len() {
                for value in [0, 1, 127, 128, 255] {
                    let mut broken = wire.clone();
                    broken[at] = value;
                    let mut broken = broken.freeze();
                    while let Ok(Some(_)) = Frame::decode(&mut broken) {}
                }
            }
        }
        let mut huge = Bytes::from_owner(u32::MAX.to_be_bytes());
        assert!(Frame::decode(&mut huge).is_err());
        let mut unknown = Bytes::from_static(&[0, 0, 0, 5, 77, 0, 0, 0, 0]);
        assert!(Frame::decode(&mut unknown).is_err());
    }
}
