//! Room for what clients send, which all connections share; each user's may fill a part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the connections of one user, or of all, together have in one place, in bytes.
#[derive(Debug)]
pub(super) struct Room {
    used: AtomicU64,
    limit: u64,
    /// What this is a part of.
    whole: Option<Arc<Room>>,
}

/// Where it is kept.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    pub(super) memory: Arc<Room>,
    pub(super) disk: Arc<Room>,
}

impl Rooms {
    /// Room within this, of which it may fill so small a part.
    pub(super) fn part(&self, part: u64) -> Self {
        let of = |whole: &Arc<Room>| {
            Arc::new(Room { used: AtomicU64::new(0), limit: whole.limit / part, whole: Some(whole.clone()) })
        };
        Self { memory: of(&self.memory), disk: of(&self.disk) }
    }
}

impl Room {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), limit, whole: None })
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
        let fits = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit;
        self.whole.as_ref().is_none_or(|whole| whole.occupy(bytes)) && fits
    }

    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give(bytes);
        }
    }

    /// Whether it is time to fill it more slowly.
    pub(super) fn is_nearly_full(&self) -> bool {
        let nearly = self.limit - self.limit / 4;
        self.used.load(Ordering::Relaxed) > nearly || self.whole.as_ref().is_some_and(|whole| whole.is_nearly_full())
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

    /// A copy of `data`, if there is room for it.
    pub(super) fn copy(data: &[u8], room: &Arc<Room>) -> Option<Self> {
        room.take(data.len() as u64).then(|| Self { data: data.to_vec(), room: room.clone() })
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_is_kept_counts_until_the_last_who_has_it_lets_go() {
        let whole = Room::new(16);
        let hers = Rooms { memory: whole.clone(), disk: whole.clone() }.part(2).memory;
        let line = Bytes::from_owner(InMemory::copy(b"12345678", &hers).unwrap());
        let again = line.clone();
        assert!(InMemory::copy(b"9", &hers).is_none() && hers.used() == 8 && whole.used() == 8);
        drop(line);
        assert_eq!((&again[..], hers.used()), (&b"12345678"[..], 8));
        drop(again);
        assert_eq!((hers.used(), whole.used()), (0, 0));
    }
}
