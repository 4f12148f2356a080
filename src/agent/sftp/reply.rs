//! What a request comes to, and how the client is told.

use std::io;

use rustix::io::Errno;

use super::super::said::said;
use super::codes::{fx, fxp};
use super::wire::{self, Malformed, Replies};

pub(super) enum Reply {
    Done,
    Handle([u8; 4]),
    Data(Vec<u8>),
    Names(Vec<Name>),
    Attributes(wire::Attributes),
    /// The fields of an extended reply.
    Numbers(Vec<u64>),
}

pub(super) struct Name {
    pub(super) name: Vec<u8>,
    pub(super) long: Vec<u8>,
    pub(super) attributes: wire::Attributes,
}

impl Reply {
    /// The type of its packet.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Done => fxp::STATUS,
            Self::Handle(_) => fxp::HANDLE,
            Self::Data(_) => fxp::DATA,
            Self::Names(_) => fxp::NAME,
            Self::Attributes(_) => fxp::ATTRS,
            Self::Numbers(_) => fxp::EXTENDED_REPLY,
        }
    }

    /// Adds its fields.
    pub(super) fn encode(self, packet: &mut Replies) {
        match self {
            Self::Done => status(packet, fx::OK, "Success"),
            Self::Handle(handle) => packet.string(&handle),
            Self::Data(data) => packet.string(&data),
            Self::Names(names) => {
                packet.u32(names.len() as u32);
                for Name { name, long, attributes } in names {
                    packet.string(&name);
                    packet.string(&long);
                    packet.attributes(&attributes);
                }
            }
            Self::Attributes(attributes) => packet.attributes(&attributes),
            Self::Numbers(numbers) => numbers.into_iter().for_each(|number| packet.u64(number)),
        }
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    Eof,
    Unsupported,
    /// No such handle, or one of another kind.
    Handle,
    TooManyHandles,
    Malformed,
    Io(io::Error),
}

impl Refusal {
    /// Adds the fields of its status.
    pub(super) fn encode(&self, packet: &mut Replies) {
        match self {
            Self::Eof => status(packet, fx::EOF, "End of file"),
            Self::Malformed => status(packet, fx::BAD_MESSAGE, "Bad message"),
            Self::Unsupported => status(packet, fx::OP_UNSUPPORTED, "Operation unsupported"),
            Self::Handle => status(packet, fx::FAILURE, "No such handle"),
            Self::TooManyHandles => status(packet, fx::FAILURE, "Too many open files"),
            Self::Io(error) => status(packet, code(error), &said(error)),
        }
    }
}

/// As OpenSSH's server has them.
fn code(error: &io::Error) -> u32 {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::BADF | Errno::LOOP) => fx::NO_SUCH_FILE,
        Some(Errno::PERM | Errno::ACCESS | Errno::FAULT) => fx::PERMISSION_DENIED,
        Some(Errno::NAMETOOLONG | Errno::INVAL) => fx::BAD_MESSAGE,
        Some(Errno::NOSYS) => fx::OP_UNSUPPORTED,
        _ => fx::FAILURE,
    }
}

fn status(packet: &mut Replies, code: u32, words: &str) {
    packet.u32(code);
    packet.string(words.as_bytes());
    packet.string(b""); // The language of the words.
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
