//! Room for what clients send, which all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all connections together have in one place, in bytes.
#[derive(Debug)]
pub(super) struct Room {
    used: AtomicU64,
    limit: u64,
}

impl Room {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), limit })
    }

    /// Takes room for `bytes`, if there is.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let taken = self.occupy(bytes);
        if !taken {
            self.give(bytes);
        }
        taken
    }

    /// Takes it even if there is none; whether there was.
    pub(super) fn occupy(&self, bytes: u64) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit
    }

    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes that count as long as they are in memory.
pub(super) struct InMemory {
    data: Vec<u8>,
    room: Arc<Room>,
}

impl InMemory {
    /// `most` bytes if there is room for them; else what `always` may be, at most.
    pub(super) fn new(most: u64, always: u64, room: &Arc<Room>) -> Self {
        let size = match room.take(most) {
            true => most,
            false => {
                let least = most.min(always);
                room.occupy(least);
                least
            }
        };
        Self { data: vec![0; size as usize], room: room.clone() }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.data
    }
}

impl AsRef<[u8]> for InMemory {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.room.give(self.data.len() as u64);
    }
}
