//! An exec's input, and how much of it containerd takes when nobody reads it.

use super::Lost;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionread,
};
use serde::Deserialize;
use std::{future::pending, time::Duration};
use tokio::{io::AsyncWriteExt, process::ChildStdin, time::timeout};
use tokio_tungstenite::tungstenite::{self, Message};

/// What containerd's fifo and its copies hold of input that no program will read any more.
const SWALLOWED: usize = 128 << 10;
/// A client that sent more than this without an end is taken to have more on its way.
const FLOOD: usize = 64 << 10;
/// How long after the last of a flood it is over.
const SETTLED: Duration = Duration::from_millis(20);

pub(super) enum Stdin {
    Pipe(Option<PipeStdin>),
    Terminal(pty_process::OwnedWritePty),
}

pub(super) struct PipeStdin {
    pipe: ChildStdin,
    received: usize,
    /// Came after the last reader was gone.
    unread: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

impl Stdin {
    pub(super) async fn write(&mut self, data: Bytes) {
        match self {
            Stdin::Pipe(Some(pipe)) => pipe.write(&data).await,
            Stdin::Pipe(None) => {}
            Stdin::Terminal(pty) => {
                if pty.write_all(&data).await.is_err() {
                    tracing::debug!("input came after the terminal was closed");
                }
            }
        }
    }

    pub(super) fn resize(&self, size: &[u8]) {
        if let (Stdin::Terminal(pty), Ok(size)) = (self, serde_json::from_slice::<Size>(size)) {
            let _ = pty.resize(pty_process::Size::new(size.height, size.width));
        }
    }

    pub(super) fn close(&mut self) {
        if let Stdin::Pipe(pipe) = self {
            *pipe = None;
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Stdin::Pipe(None))
    }

    /// Ends the input because the output has ended; for ever waiting if the program left a flood of it unread.
    pub(super) async fn settle(
        &mut self,
        source: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    ) -> Result<(), Lost> {
        if let Stdin::Pipe(Some(pipe)) = self {
            while pipe.received > FLOOD && pipe.is_abandoned() {
                match timeout(SETTLED, source.next()).await {
                    Ok(Some(Ok(Message::Binary(frame)))) => match frame.split_first() {
                        Some((0, data)) => pipe.write(data).await,
                        Some((255, _)) => break,
                        _ => {}
                    },
                    Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Err(Lost),
                    Ok(Some(Ok(_))) => {}
                    Err(_) => break,
                }
            }
        }
        self.close();
        Ok(())
    }
}

impl PipeStdin {
    pub(super) fn new(pipe: ChildStdin) -> PipeStdin {
        PipeStdin { pipe, received: 0, unread: 0 }
    }

    async fn write(&mut self, data: &[u8]) {
        self.received += data.len();
        if self.pipe.write_all(data).await.is_err() {
            // Nobody reads any more. The real thing goes on writing into a fifo that it holds open itself: when that
            // is full, this loop is stuck, and with it the exec.
            self.unread += data.len();
            let in_pipe = ioctl_fionread(&self.pipe).unwrap_or(0);
            if self.unread + usize::try_from(in_pipe).unwrap_or(0) > SWALLOWED {
                pending::<()>().await;
            }
        }
    }

    fn is_abandoned(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.pipe, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut descriptors, Some(&at_once)).is_ok() && descriptors[0].revents().contains(PollFlags::ERR)
    }
}
