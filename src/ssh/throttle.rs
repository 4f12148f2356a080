//! Bounds what one connection may have waiting for programs that do not read.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::room::{Room, Rooms};

/// What waits in all inboxes of one connection, in bytes.
///
/// russh tells the client on receipt that there is room for more, so a client never stops by itself. While programs
/// read, its socket is read as fast as they do and what waits fits in memory. Where none reads, what came so far goes
/// to disk so that its neighbours are not held up; past `slow_above`, and where there is hardly any room left there,
/// the socket is read at a trickle.
#[derive(Debug)]
pub(super) struct Throttle {
    waiting: AtomicU64,
    /// Waits in a row that ended with nothing drained.
    in_vain: AtomicU32,
    /// How often a program has read.
    reads: AtomicU64,
    slow_above: u64,
    limit: u64,
    drained: Notify,
    rooms: Rooms,
    /// Those of whoever logged in.
    hers: OnceLock<Rooms>,
}

/// How fast the socket is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Free,
    /// As programs read.
    Follow,
    Trickle,
}

/// Bytes that may wait before the socket is read no faster than programs read: less than one inbox keeps in memory.
const FOLLOW_ABOVE: u64 = 128 * 1024;
/// What one connection may have waiting, in bytes, where there is no room.
const LITTLE: u64 = 8 * FOLLOW_ABOVE;
/// Once it has waited, the connection goes on when no more than this waits: it is not to wake for each piece.
const GO_ON_AT: u64 = FOLLOW_ABOVE / 2;
/// One inbox keeps so much in memory; what waits beyond is another's.
const MOST_TIMES: u32 = 8;
/// After so many waits in vain programs are not waited for, until one reads again.
const STALL: u32 = 25;
/// The longest wait for a program that reads, so that its neighbours are not held up by one that reads slowly; longer
/// the more waits, as many times as that is [`FOLLOW_ABOVE`]. The way to a pod stands still for tenths of a second, and
/// what goes to disk meanwhile costs more than it.
const FOLLOW: Duration = Duration::from_millis(2);
/// Between two reads of a slow connection whose programs read nothing. It is read all the same: window adjustments and
/// keystrokes for others come in the same stream.
const TRICKLE: Duration = Duration::from_millis(250);

impl Throttle {
    /// `rooms` are what all connections share.
    pub(super) fn new(slow_above: u64, limit: u64, rooms: Rooms) -> Arc<Self> {
        let (waiting, in_vain, reads, hers) = Default::default();
        Arc::new(Self { waiting, in_vain, reads, slow_above, limit, drained: Notify::new(), rooms, hers })
    }

    /// From now on it is this user's room that is filled. Nothing waits yet.
    pub(super) fn belong(&self, rooms: Rooms) {
        let _ = self.hers.set(rooms);
    }

    fn rooms(&self) -> &Rooms {
        self.hers.get().unwrap_or(&self.rooms)
    }

    pub(super) fn memory(&self) -> &Arc<Room> {
        &self.rooms().memory
    }

    pub(super) fn disk(&self) -> &Room {
        &self.rooms().disk
    }

    /// Whether so little waits that it is kept although there is no room: programs that read are not to end because
    /// others do not.
    pub(super) fn has_little(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) <= LITTLE
    }

    /// Counts `bytes` in; false if that is more than may ever wait.
    pub(super) fn add(&self, bytes: usize) -> bool {
        self.waiting.fetch_add(bytes as u64, Ordering::Relaxed) + (bytes as u64) <= self.limit
    }

    /// Counts `bytes` out.
    pub(super) fn remove(&self, bytes: usize) {
        let left = self.waiting.fetch_sub(bytes as u64, Ordering::Relaxed) - bytes as u64;
        self.in_vain.store(0, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
        if left <= GO_ON_AT || left > self.slow_above {
            self.drained.notify_one();
        }
    }

    pub(super) fn pace(&self) -> Pace {
        match self.waiting.load(Ordering::Relaxed) {
            waiting if waiting > self.slow_above => Pace::Trickle,
            waiting if waiting > FOLLOW_ABOVE && self.disk().is_nearly_full() => Pace::Trickle,
            waiting if waiting > FOLLOW_ABOVE && self.in_vain.load(Ordering::Relaxed) < STALL => Pace::Follow,
            _ => Pace::Free,
        }
    }

    fn times_to_follow(&self) -> u32 {
        u32::try_from(self.waiting.load(Ordering::Relaxed) / FOLLOW_ABOVE).unwrap_or(u32::MAX).clamp(1, MOST_TIMES)
    }

    /// Returns when the socket may be read again.
    pub(super) async fn wait(self: Arc<Self>, pace: Pace) {
        let patience = match pace {
            Pace::Free => return,
            Pace::Follow => FOLLOW * self.times_to_follow(),
            Pace::Trickle => TRICKLE,
        };
        let before = self.reads.load(Ordering::Relaxed);
        let drained = async {
            loop {
                self.drained.notified().await;
                // What waits has to shrink, not just to stay, or what once went to disk would stay there to the end.
                if pace != Pace::Follow || self.waiting.load(Ordering::Relaxed) <= GO_ON_AT {
                    return;
                }
            }
        };
        if timeout(patience, drained).await.is_err() && self.reads.load(Ordering::Relaxed) == before {
            self.in_vain.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_waits_the_longer_it_is_waited_for() {
        let throttle = Throttle::new(u64::MAX, u64::MAX, Rooms { memory: Room::new(0), disk: Room::new(u64::MAX) });
        let mut times = Vec::new();
        for _ in 0..3 {
            throttle.add(3 * FOLLOW_ABOVE as usize);
            times.push(throttle.times_to_follow());
        }
        assert_eq!(times, [3, 6, 8]);
        throttle.remove(9 * FOLLOW_ABOVE as usize);
        assert_eq!((throttle.times_to_follow(), throttle.pace()), (1, Pace::Free));
    }
}
