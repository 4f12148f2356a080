//! What waits in one inbox, in its order: what of it is in memory, and where in the file the rest stands.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// The most that is joined in memory, in bytes.
pub(super) const PIECE: usize = 32 * 1024;
/// What is at least as long is kept as it came, in bytes. What is shorter costs more memory than it has bytes, and is
/// joined to what came before.
pub(super) const LONG: usize = 4 * 1024;

/// What waits, in the order of its fields.
#[derive(Default)]
pub(super) struct Waiting {
    front: VecDeque<Bytes>,
    pub(super) spool: Option<Spool>,
    pub(super) back: VecDeque<Bytes>,
    tail: BytesMut,
    /// Bytes in `front`, `back` and `tail`.
    pub(super) held: usize,
    pub(super) eof: bool,
}

/// Bytes from `start` to `end` of the file wait.
pub(super) struct Spool {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Waiting {
    pub(super) fn push(&mut self, data: Bytes) {
        self.held += data.len();
        if data.len() >= LONG || self.tail.len() + data.len() > PIECE {
            self.end_tail();
        }
        match data.len() >= LONG {
            true => self.back.push_back(data),
            false => self.tail.extend_from_slice(&data),
        }
    }

    /// What comes is not joined to what came so far.
    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.back.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Bytes that wait in the file.
    pub(super) fn spooled(&self) -> u64 {
        self.spool.as_ref().map_or(0, |spool| spool.end - spool.start)
    }

    /// Whither `data` goes, and what has to go there before it.
    pub(super) fn begin_spooling(&mut self, data: Bytes) -> (Option<(Arc<File>, u64)>, Bytes) {
        let waits = self.spooled() > 0;
        let spool = self.spool.as_mut().map(|spool| {
            if !waits {
                (spool.start, spool.end) = (0, 0); // Nobody reads it now: its space serves again.
            }
            (spool.file.clone(), spool.end)
        });
        self.end_tail();
        if !waits {
            self.front.append(&mut self.back);
            return (spool, data);
        }
        let mut joined = BytesMut::new();
        for data in self.back.drain(..) {
            self.held -= data.len();
            joined.extend_from_slice(&data);
        }
        joined.extend_from_slice(&data);
        (spool, joined.freeze())
    }

    /// The next bytes, unless they are in the file; small pieces as one.
    pub(super) fn take_front(&mut self) -> Option<Bytes> {
        if self.front.is_empty() && self.spooled() == 0 {
            self.end_tail();
            self.front = std::mem::take(&mut self.back);
        }
        let mut first = self.front.pop_front()?;
        if self.front.front().is_some_and(|second| first.len() + second.len() <= PIECE) {
            let mut joined = BytesMut::from(first);
            while let Some(next) = self.front.pop_front_if(|next| joined.len() + next.len() <= PIECE) {
                joined.extend_from_slice(&next);
            }
            first = joined.freeze();
        }
        self.held -= first.len();
        Some(first)
    }
}
