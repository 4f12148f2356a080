//! From the program to the stream, to its last byte.

use std::pin::pin;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::AsyncRead;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::super::request::Response;
use super::super::{activity, piece};
use super::exit;
use super::start::Output;
use crate::carrier::{Ended, Message, Sender};

/// Most programs end with their output, and their end alone is told.
const SOON: Duration = Duration::from_millis(20);

/// What a terminal whose program has ended still holds. It shows up at once, and a kernel holds little; what its
/// background jobs write later is not waited for, and if they never cease it is not all read.
pub(super) struct LastWords {
    waits: u32,
    bytes: usize,
}

impl LastWords {
    const WAIT: Duration = Duration::from_millis(20);

    pub(super) fn new() -> Self {
        Self { waits: 50, bytes: 64 * 1024 }
    }

    /// The next piece; none once they are over.
    pub(super) async fn next(&mut self, terminal: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
        let mut reading = pin!(read(terminal));
        let data = match reading.as_mut().now_or_never() {
            Some(data) => data,
            None => {
                self.waits = self.waits.checked_sub(1)?;
                timeout(Self::WAIT, reading).await.ok()?
            }
        };
        let data = data.ok().filter(|data| !data.is_empty() && self.bytes > 0)?;
        self.bytes = self.bytes.saturating_sub(data.len());
        Some(data)
    }
}

/// Copies until the program has ended and nothing of its output is left; none if the stream ends before. `early`: how
/// it ended is told before, if somebody else holds its output. `is_buried`: nothing keeps the number of its group any
/// more.
pub(super) async fn copy(
    output: Output,
    child: &mut Child,
    is_buried: &AtomicBool,
    sender: &Sender,
    early: bool,
) -> Option<ExitStatus> {
    match output {
        // As with sshd, a background process that holds stdout open holds the session too.
        Output::Pipes(mut stdout, mut stderr) => {
            let pieces = Pieces::default();
            let (out, err) = (pump(&mut stdout, sender, false, &pieces), pump(&mut stderr, sender, true, &pieces));
            let mut copied = pin!(async { tokio::try_join!(out, err) });
            let left = async {
                let ended = child.wait().await;
                is_buried.store(true, Ordering::Relaxed);
                pieces.cease().await;
                ended
            };
            let ended = tokio::select! {
                biased;
                copied = &mut copied => {
                    copied.ok()?;
                    return end(child, sender).await;
                }
                ended = left, if early => ended.ok()?,
            };
            sender.send(Message::control(&Response::Ended(exit(ended)))).ok()?;
            copied.await.ok()?;
            Some(ended)
        }
        Output::Terminal(mut terminal) => {
            let status = loop {
                let data = tokio::select! {
                    data = read(&mut terminal) => data,
                    ended = child.wait() => break ended.ok()?,
                };
                match data {
                    Ok(data) if !data.is_empty() => sender.data(data).await.ok()?,
                    // Nobody holds the terminal open any more.
                    _ => return end(child, sender).await,
                }
            };
            is_buried.store(true, Ordering::Relaxed);
            let mut last_words = LastWords::new();
            while let Some(data) = last_words.next(&mut terminal).await {
                sender.data(data).await.ok()?;
            }
            Some(status)
        }
    }
}

/// Waits for a program that writes no more. As with sshd, whoever reads its output hears of that, should it run on.
async fn end(child: &mut Child, sender: &Sender) -> Option<ExitStatus> {
    if let Ok(ended) = timeout(SOON, child.wait()).await {
        return ended.ok();
    }
    sender.send(Message::Eof).ok()?;
    child.wait().await.ok()
}

/// What was read of a program's output, and what of it was sent.
#[derive(Default)]
struct Pieces {
    read: AtomicU64,
    sent: AtomicU64,
}

impl Pieces {
    /// Returns once all is sent and nothing more comes for a while.
    async fn cease(&self) {
        loop {
            let read = self.read.load(Ordering::Relaxed);
            sleep(SOON).await;
            if self.read.load(Ordering::Relaxed) == read && self.sent.load(Ordering::Relaxed) == read {
                return;
            }
        }
    }
}

async fn pump(
    source: &mut (impl AsyncRead + Unpin),
    sender: &Sender,
    stderr: bool,
    pieces: &Pieces,
) -> Result<(), Ended> {
    loop {
        let data = match read(source).await {
            Ok(data) if !data.is_empty() => data,
            _ => return Ok(()),
        };
        pieces.read.fetch_add(1, Ordering::Relaxed);
        if stderr {
            sender.stderr(data).await?
        } else {
            sender.data(data).await?
        }
        pieces.sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the program wrote; empty at the end.
pub(super) async fn read(source: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Bytes> {
    let data = piece::read(source).await?;
    if !data.is_empty() {
        activity::output(data.len());
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn heard(mut terminal: impl AsyncRead + Unpin) -> usize {
        let (mut last_words, mut heard) = (LastWords::new(), 0);
        while let Some(data) = last_words.next(&mut terminal).await {
            heard += data.len();
        }
        heard
    }

    #[tokio::test]
    async fn all_that_a_terminal_still_holds_is_read() {
        let (mut writer, terminal) = tokio::io::duplex(64 * 1024);
        writer.write_all(&[b'x'; 12 * 1024]).await.unwrap();
        assert_eq!(heard(terminal).await, 12 * 1024);
    }

    /// `exit` never ended a shell that had left such a job.
    #[tokio::test]
    async fn background_jobs_that_never_cease_are_not_heard_for_ever() {
        for (piece, pause) in [(5000, Duration::ZERO), (10, Duration::from_millis(15))] {
            let (mut writer, terminal) = tokio::io::duplex(64 * 1024);
            let job = tokio::spawn(async move {
                while writer.write_all(&vec![b'x'; piece]).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            });
            assert!(heard(terminal).await < 200_000);
            job.await.unwrap();
        }
    }
}
