//! From the program to the stream, to its last byte.

use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::AsyncRead;
use tokio::process::Child;
use tokio::time::timeout;

use super::super::{activity, piece};
use super::start::Output;
use crate::carrier::{Ended, Message, Sender};

/// Most programs end with their output, and their end alone is told.
const SOON: Duration = Duration::from_millis(20);

/// What a terminal whose program has ended still holds. It shows up at once, and a kernel holds little; what its background
/// jobs write later is not waited for, and if they never cease it is not all read.
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

/// Copies until the program has ended and nothing of its output is left; none if the stream ends before.
pub(super) async fn copy(output: Output, child: &mut Child, sender: &Sender) -> Option<ExitStatus> {
    match output {
        // As with sshd, a background process that holds stdout open holds the session too.
        Output::Pipes(mut stdout, mut stderr) => {
            let copied = tokio::try_join!(pump(&mut stdout, sender, false), pump(&mut stderr, sender, true));
            copied.ok()?;
            end(child, sender).await
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

async fn pump(source: &mut (impl AsyncRead + Unpin), sender: &Sender, stderr: bool) -> Result<(), Ended> {
    loop {
        let data = match read(source).await {
            Ok(data) if !data.is_empty() => data,
            _ => return Ok(()),
        };
        if stderr { sender.stderr(data).await? } else { sender.data(data).await? }
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
