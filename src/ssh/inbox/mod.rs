//! What a client sent to a channel and its program has not read yet: in memory, then in an unlinked file.
//!
//! russh awaits a bounded queue inside its session loop, so a channel that is not drained at once freezes all others
//! of its connection. Putting into an inbox therefore never waits for the program.

mod waiting;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use super::room::InMemory;
use super::throttle::Throttle;
use waiting::{PIECE, Spool, Waiting};

/// Bytes that one channel keeps in memory, while there is room for them among those of all connections.
const MEMORY: usize = 1024 * 1024;
/// Bytes that it keeps there although there is none: keystrokes are not to wait for the disk.
const ALWAYS: usize = 4 * 1024;
/// The most that it reads from the file, in bytes: each read is a trip to another thread.
const SPOOL_PIECE: usize = 256 * 1024;

/// A byte queue with one writer and one reader.
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
    throttle: Arc<Throttle>,
    directory: PathBuf,
    disk_failed: AtomicBool,
}

impl Inbox {
    /// `directory` is where the file goes once memory does not do.
    pub(super) fn new(throttle: Arc<Throttle>, directory: PathBuf) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Notify::new(),
            throttle,
            directory,
            disk_failed: AtomicBool::new(false),
        }
    }

    /// Adds what came. Waits for the disk at most. An error means that it cannot be kept.
    pub(super) async fn put(&self, data: Bytes) -> io::Result<()> {
        let size = data.len();
        if !self.throttle.add(size) {
            self.throttle.remove(size);
            return Err(io::Error::other("too much input waits for programs that do not read it"));
        }
        self.keep(data).await?;
        self.changed.notify_one();
        Ok(())
    }

    async fn keep(&self, data: Bytes) -> io::Result<()> {
        let (spool, data, way) = {
            let mut waiting = self.waiting.lock();
            // What little is left in the file does not send the rest there too, or it would never come to an end.
            let fits = waiting.held == 0 || waiting.held + data.len() <= MEMORY;
            if fits && waiting.spooled() <= SPOOL_PIECE as u64 && self.finds_room(waiting.held, data.len()) {
                waiting.push(data);
                return Ok(());
            }
            self.throttle.memory().occupy(data.len() as u64);
            let (spool, data) = waiting.begin_spooling(data);
            let size = data.len() as u64;
            (spool, data, OnTheWay { throttle: &self.throttle, size, disk: 0, arrived: false })
        };
        self.spool(spool, data, way).await
    }

    /// Takes room in memory for `size` bytes more than the `held` ones.
    fn finds_room(&self, held: usize, size: usize) -> bool {
        let memory = self.throttle.memory();
        match held + size <= ALWAYS {
            true => {
                memory.occupy(size as u64);
                true
            }
            false => memory.take(size as u64),
        }
    }

    async fn spool(&self, spool: Option<(Arc<File>, u64)>, data: Bytes, mut way: OnTheWay<'_>) -> io::Result<()> {
        let directory = self.directory.clone();
        let size = data.len() as u64;
        let disk = self.throttle.disk();
        if !disk.take(size) {
            if !self.throttle.has_little() {
                return Err(io::Error::other("no room on disk for more input that programs do not read"));
            }
            disk.occupy(size);
        }
        way.disk = size;
        let written = self.on_disk(move || {
            let (file, end) = match spool {
                Some(spool) => spool,
                None => (Arc::new(tempfile::tempfile_in(directory)?), 0),
            };
            file.write_all_at(&data, end)?;
            Ok((file, end))
        });
        let (file, end) = written.await?;
        let mut waiting = self.waiting.lock();
        let spool = waiting.spool.get_or_insert(Spool { file, start: end, end });
        spool.end = end + size;
        way.arrived = true;
        Ok(())
    }

    /// Does what may block.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
        done.inspect_err(|error| {
            warn!(%error, "the disk failed that keeps what clients send");
            self.disk_failed.store(true, Ordering::Relaxed);
        })
    }

    /// Why something was lost, for whoever sent it.
    pub(super) fn why_lost(&self) -> &'static str {
        match self.disk_failed.load(Ordering::Relaxed) {
            true => "your input was lost: the disk of the SSH server failed; this session ends",
            false => "too much unread input: the program does not read it; this session ends",
        }
    }

    /// No more will come.
    pub(super) fn put_eof(&self) {
        self.waiting.lock().eof = true;
        self.changed.notify_one();
    }

    /// The next bytes, small pieces as one; `None` at the end.
    ///
    /// Cancel safe until something is there, and then it does not wait for the client.
    pub(super) async fn take(&self) -> io::Result<Option<Bytes>> {
        loop {
            let spool = {
                let mut waiting = self.waiting.lock();
                if let Some(data) = waiting.take_front() {
                    drop(waiting);
                    self.throttle.memory().give(data.len() as u64);
                    self.throttle.remove(data.len());
                    return Ok(Some(data));
                }
                match &waiting.spool {
                    Some(spool) if spool.start < spool.end => Some((spool.file.clone(), spool.start, spool.end)),
                    _ if waiting.eof => return Ok(None),
                    _ => None,
                }
            };
            match spool {
                Some(spool) => return self.take_spool(spool).await.map(Some),
                None => self.changed.notified().await,
            }
        }
    }

    async fn take_spool(&self, (file, start, end): (Arc<File>, u64, u64)) -> io::Result<Bytes> {
        let size = (end - start).min(SPOOL_PIECE as u64);
        // It counts until the program has it, and with little room there is less of it.
        let mut read = InMemory::new(size, PIECE as u64, self.throttle.memory());
        let read = self
            .on_disk(move || {
                file.read_exact_at(read.bytes(), start)?;
                Ok(read)
            })
            .await?;
        let data = Bytes::from_owner(read);
        let size = data.len();
        let mut waiting = self.waiting.lock();
        if let Some(spool) = &mut waiting.spool {
            spool.start += size as u64;
        }
        drop(waiting);
        self.throttle.disk().give(size as u64);
        self.throttle.remove(size);
        Ok(data)
    }
}

/// Bytes in memory that go to the file. What they took is given back, but for what they take there once they arrived.
struct OnTheWay<'a> {
    throttle: &'a Throttle,
    size: u64,
    /// Of these, those with room on disk.
    disk: u64,
    arrived: bool,
}

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        self.throttle.memory().give(self.size);
        if !self.arrived {
            self.throttle.disk().give(self.disk);
            self.throttle.remove(self.size as usize);
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let waiting = self.waiting.lock();
        let spooled = waiting.spooled();
        self.throttle.disk().give(spooled);
        self.throttle.memory().give(waiting.held as u64);
        self.throttle.remove(waiting.held + spooled as usize);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::super::room::{Room, Rooms};
    use super::super::throttle::Pace;
    use super::waiting::LONG;
    use super::*;

    fn inbox(limit: u64) -> (Inbox, Arc<Throttle>) {
        with_room(limit, u64::MAX)
    }

    fn with_room(limit: u64, memory: u64) -> (Inbox, Arc<Throttle>) {
        let throttle = Throttle::new(limit, limit, Rooms { memory: Room::new(memory), disk: Room::new(limit) });
        (Inbox::new(throttle.clone(), std::env::temp_dir()), throttle)
    }

    #[tokio::test]
    async fn bytes_come_out_in_order_through_memory_and_file() {
        let (inbox, throttle) = inbox(u64::MAX);
        let sent: Vec<u8> = (0..3 * MEMORY as u32).flat_map(u32::to_le_bytes).collect();
        let mut received = Vec::new();
        for (n, piece) in sent.chunks(10_007).enumerate() {
            inbox.put(Bytes::copy_from_slice(piece)).await.unwrap();
            // First too slowly, then fast enough, and so on.
            let takes = if n / 200 % 2 == 0 { n % 3 / 2 } else { 2 };
            for _ in 0..takes {
                if inbox.throttle.pace() != Pace::Free || takes == 1 {
                    received.extend_from_slice(&inbox.take().await.unwrap().unwrap());
                }
            }
        }
        inbox.put_eof();
        while let Some(data) = inbox.take().await.unwrap() {
            received.extend_from_slice(&data);
        }
        assert!(sent == received);
        assert_eq!((throttle.memory().used(), throttle.disk().used()), (0, 0));
        assert!(throttle.add(0) && throttle.pace() == Pace::Free);
    }

    #[tokio::test]
    async fn small_pieces_are_taken_as_one() {
        let (inbox, _) = inbox(u64::MAX);
        for piece in ["a", "b", "c"] {
            inbox.put(Bytes::from(piece)).await.unwrap();
        }
        assert_eq!(inbox.take().await.unwrap().unwrap(), "abc");
    }

    #[tokio::test]
    async fn many_small_pieces_are_kept_as_few() {
        let (inbox, _) = inbox(u64::MAX);
        for n in 0..3 * PIECE {
            inbox.put(Bytes::copy_from_slice(&[n as u8])).await.unwrap();
        }
        assert!(inbox.waiting.lock().back.len() <= 3);
        inbox.put(Bytes::from(vec![7; LONG])).await.unwrap();
        let mut received = 0;
        while received < 3 * PIECE + LONG {
            received += inbox.take().await.unwrap().unwrap().len();
        }
        assert_eq!((received, inbox.waiting.lock().held), (3 * PIECE + LONG, 0));
    }

    #[tokio::test]
    async fn where_memory_is_used_up_only_a_little_stays_in_it() {
        let (inbox, throttle) = with_room(u64::MAX, 0);
        let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for piece in sent.chunks(1000) {
            inbox.put(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert!(throttle.memory().used() <= ALWAYS as u64, "{}", throttle.memory().used());
        assert!(throttle.disk().used() >= (sent.len() - ALWAYS) as u64);
        inbox.put_eof();
        let mut received = Vec::new();
        while let Some(data) = inbox.take().await.unwrap() {
            assert!(data.len() <= PIECE);
            received.extend_from_slice(&data);
        }
        assert!(sent == received);
        assert_eq!((throttle.memory().used(), throttle.disk().used()), (0, 0));
    }

    #[tokio::test]
    async fn what_is_dropped_on_its_way_to_disk_is_given_back() {
        let (inbox, throttle) = with_room(u64::MAX, 0);
        for _ in 0..3 {
            inbox.put(Bytes::from(vec![0; PIECE])).now_or_never();
        }
        drop(inbox);
        assert_eq!((throttle.memory().used(), throttle.disk().used()), (0, 0));
        assert_eq!(throttle.pace(), Pace::Free);
    }

    #[tokio::test]
    async fn past_the_limit_nothing_is_kept() {
        let (inbox, throttle) = inbox(10);
        inbox.put(Bytes::from_static(b"0123456789")).await.unwrap();
        assert!(inbox.put(Bytes::from_static(b"x")).await.is_err());
        inbox.take().await.unwrap();
        inbox.put(Bytes::from_static(b"x")).await.unwrap();
        drop(inbox);
        assert!(throttle.add(10), "a dropped inbox gives back what it held");
    }
}
