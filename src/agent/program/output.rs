//! From the program to the stream, to its last byte.

use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::process::Child;
use tokio::time::timeout;

use super::super::{activity, piece};
use super::start::Output;
use crate::carrier::{Ended, Sender};

/// What a terminal whose program has ended may still hold shows up at once; what its background jobs write later is not
/// waited for.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(20);

/// Copies until the program has ended and nothing of its output is left; none if the stream ends before.
pub(super) async fn copy(output: Output, child: &mut Child, sender: &Sender) -> Option<ExitStatus> {
    match output {
        // As with sshd, a background process that holds stdout open holds the session too.
        Output::Pipes(mut stdout, mut stderr) => {
            let copied = tokio::try_join!(pump(&mut stdout, sender, false), pump(&mut stderr, sender, true));
            copied.ok()?;
            child.wait().await.ok()
        }
        Output::Terminal(mut terminal) => {
            let mut status = None;
            loop {
                let data = match status {
                    None => tokio::select! {
                        data = read(&mut terminal) => data,
                        ended = child.wait() => {
                            status = Some(ended.ok()?);
                            continue;
                        }
                    },
                    Some(status) => match timeout(LAST_WORDS, read(&mut terminal)).await {
                        Ok(data) => data,
                        Err(_) => return Some(status),
                    },
                };
                match data {
                    Ok(data) if !data.is_empty() => sender.data(data).await.ok()?,
                    // Nobody holds the terminal open any more.
                    _ => return child.wait().await.ok(),
                }
            }
        }
    }
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
