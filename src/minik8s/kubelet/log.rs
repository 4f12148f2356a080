//! The last of what each container wrote, in this run of it and in the one before.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use axum::body::Bytes;
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

const KEPT: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Logs(Mutex<HashMap<String, Log>>);

/// What is asked of a log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// The run before this one.
    pub(crate) previous: bool,
    /// Only so many of the last lines.
    pub(crate) tail: Option<usize>,
    /// Go on until the run ends.
    pub(crate) follow: bool,
}

#[derive(Default)]
struct Log {
    /// How many runs there were before this one.
    number: u64,
    now: Run,
    before: Option<Vec<u8>>,
}

#[derive(Default)]
struct Run {
    kept: VecDeque<u8>,
    /// Bytes that were ever written.
    written: u64,
    /// Streams of it that are still open.
    open: usize,
    changed: watch::Sender<()>,
}

/// Where a reader is.
struct Place {
    run: u64,
    written: u64,
}

impl Logs {
    /// A new run begins.
    pub(super) fn begin(&self, container: &str) {
        let mut logs = self.0.lock();
        match logs.get_mut(container) {
            Some(log) => {
                log.number += 1;
                log.before = Some(std::mem::take(&mut log.now).kept.into());
            }
            None => drop(logs.insert(container.to_owned(), Log::default())),
        }
    }

    /// A stream of the run opens, to be taken in by [`Self::follow`]: gives the number of the run.
    pub(super) fn open(&self, container: &str) -> u64 {
        self.edit(container, None, |run| run.open += 1)
    }

    /// Takes in a stream of run `number` until it ends.
    pub(super) async fn follow(&self, container: &str, number: u64, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 8 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.edit(container, Some(number), |run| {
                run.kept.extend(&buffer[..count]);
                run.written += count as u64;
                let excess = run.kept.len().saturating_sub(KEPT);
                run.kept.drain(..excess);
            });
        }
        self.edit(container, Some(number), |run| run.open -= 1);
    }

    /// Changes the run of that number, or the one of now, whose number it gives. What a process of a run that is over
    /// still writes is lost.
    fn edit(&self, container: &str, number: Option<u64>, edit: impl FnOnce(&mut Run)) -> u64 {
        let mut logs = self.0.lock();
        let log = logs.entry(container.to_owned()).or_default();
        if number.is_none_or(|number| number == log.number) {
            edit(&mut log.now);
            log.now.changed.send_replace(());
        }
        log.number
    }

    /// What came after `place`, and whether no more will.
    fn after(&self, container: &str, place: &mut Place) -> (Vec<u8>, bool, Option<watch::Receiver<()>>) {
        let logs = self.0.lock();
        let Some(log) = logs.get(container).filter(|log| log.number == place.run) else {
            return (Vec::new(), true, None);
        };
        let new = usize::try_from(log.now.written - place.written).unwrap_or(usize::MAX).min(log.now.kept.len());
        place.written = log.now.written;
        let text = log.now.kept.iter().skip(log.now.kept.len() - new).copied().collect();
        (text, log.now.open == 0, Some(log.now.changed.subscribe()))
    }
}

/// The log of a container; none if there is none of the run that is wanted.
pub(super) fn read<T>(owner: Arc<T>, logs: fn(&T) -> &Logs, container: &str, wanted: Wanted) -> Option<Pieces>
where
    T: Send + Sync + 'static,
{
    let (text, place) = {
        let all = logs(&owner).0.lock();
        match all.get(container) {
            Some(log) if wanted.previous => (log.before.clone()?, None),
            Some(log) => {
                let place = Place { run: log.number, written: log.now.written };
                (log.now.kept.iter().copied().collect(), Some(place))
            }
            None if wanted.previous => return None,
            None => (Vec::new(), None),
        }
    };
    let first = Bytes::from(match wanted.tail {
        Some(lines) => last_lines(&text, lines).to_vec(),
        None => text,
    });
    let rest = match place.filter(|_| wanted.follow) {
        Some(place) => following(owner, logs, container.to_owned(), place).boxed(),
        None => stream::empty().boxed(),
    };
    // An empty chunk would end an HTTP body.
    let first = stream::iter((!first.is_empty()).then_some(first));
    Some(first.chain(rest).boxed())
}

/// Pieces of a log.
pub(crate) type Pieces = stream::BoxStream<'static, Bytes>;

fn following<T>(
    owner: Arc<T>,
    logs: fn(&T) -> &Logs,
    container: String,
    place: Place,
) -> impl Stream<Item = Bytes> + Send
where
    T: Send + Sync + 'static,
{
    stream::unfold(Some((owner, container, place)), move |state| async move {
        let (owner, container, mut place) = state?;
        loop {
            let (text, over, changed) = logs(&owner).after(&container, &mut place);
            match changed {
                _ if !text.is_empty() => return Some((text.into(), Some((owner, container, place)))),
                Some(mut changed) if !over => changed.changed().await.ok()?,
                _ => return None,
            }
        }
    })
}

fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    match lines.checked_sub(1) {
        None => &[],
        Some(before) => ends.nth(before).map_or(text, |at| &text[at + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        let text = b"one\ntwo\nthree\n";
        assert_eq!(last_lines(text, 1), b"three\n");
        assert_eq!(last_lines(text, 2), b"two\nthree\n");
        assert_eq!(last_lines(text, 3), text);
        assert_eq!(last_lines(text, 9), text);
        assert_eq!(last_lines(text, 0), b"");
        assert_eq!(last_lines(b"one\ntwo", 1), b"two");
    }

    #[tokio::test]
    async fn each_run_has_its_own_log() {
        let logs = Arc::new(Logs::default());
        let text = |wanted: Wanted| {
            let read = read(logs.clone(), |logs| logs, "main", wanted);
            async { Some(read?.map(|piece| piece.to_vec()).concat().await) }
        };
        logs.begin("main");
        logs.follow("main", logs.open("main"), &b"first\n"[..]).await;
        assert_eq!(text(Wanted::default()).await, Some(b"first\n".to_vec()));
        assert_eq!(text(Wanted { previous: true, ..Wanted::default() }).await, None);
        logs.begin("main");
        logs.follow("main", logs.open("main"), &b"second\n"[..]).await;
        assert_eq!(text(Wanted { follow: true, ..Wanted::default() }).await, Some(b"second\n".to_vec()));
        assert_eq!(text(Wanted { previous: true, ..Wanted::default() }).await, Some(b"first\n".to_vec()));
    }

    #[tokio::test]
    async fn a_reader_that_follows_hears_what_is_written_and_the_end() {
        let logs = Arc::new(Logs::default());
        logs.begin("main");
        let (mut program, output) = tokio::io::duplex(64);
        let number = logs.open("main");
        let writing = tokio::spawn({
            let logs = logs.clone();
            async move { logs.follow("main", number, output).await }
        });
        tokio::io::AsyncWriteExt::write_all(&mut program, b"one\n").await.unwrap();
        while logs.0.lock()["main"].now.written < 4 {
            tokio::task::yield_now().await;
        }
        let mut reader = read(logs.clone(), |logs| logs, "main", Wanted { follow: true, ..Wanted::default() }).unwrap();
        assert_eq!(reader.next().await.unwrap(), "one\n");
        tokio::io::AsyncWriteExt::write_all(&mut program, b"two\n").await.unwrap();
        assert_eq!(reader.next().await.unwrap(), "two\n");
        drop(program);
        assert!(reader.next().await.is_none());
        writing.await.unwrap();
    }
}
