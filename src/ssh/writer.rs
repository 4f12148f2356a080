//! The client-bound half of a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The client closed the channel or is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// What the client's side of the channel does, apart from sending bytes.
#[derive(Default)]
pub(super) struct Events {
    /// The client closed the channel or is gone, or the session has ended.
    pub(super) closed: CancellationToken,
    /// Ctrl-C was typed.
    pub(super) interrupted: Notify,
    /// The client's input could not be kept.
    pub(super) overflowed: CancellationToken,
}

/// The client-bound half of a channel. Waits for the client's window, until the client closes the channel.
pub(super) struct Writer {
    pub(super) half: ChannelWriteHalf<Msg>,
    pub(super) events: Arc<Events>,
    /// Whether it leads to the screen of a shell.
    pub(super) screen: bool,
    /// Nothing more may follow.
    over: AtomicBool,
    /// The client knows how the program ended.
    told: AtomicBool,
}

impl Writer {
    pub(super) fn new(half: ChannelWriteHalf<Msg>, events: Arc<Events>) -> Self {
        Self { half, events, screen: false, over: AtomicBool::new(false), told: AtomicBool::new(false) }
    }

    /// Tells the client that no output follows; once. What the bastion itself would say then is not said: OpenSSH's client
    /// ends its connection at data on stderr that comes after.
    pub(super) async fn eof(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            let _ = self.until_closed(self.half.eof()).await;
        }
    }

    /// Tells how the program ended; once.
    pub(super) async fn exit_status(&self, status: u32) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let _ = self.until_closed(self.half.exit_status(status)).await;
        }
    }

    pub(super) async fn stdout(&self, data: Bytes) -> Result<(), Closed> {
        match self.over.load(Ordering::Relaxed) {
            true => Ok(()),
            false => self.until_closed(self.half.data_bytes(data)).await,
        }
    }

    /// What the bastion itself says. A command's output may be read by a program, on a terminal too, as Ansible's is: it
    /// has this beside it.
    pub(super) async fn say(&self, line: Bytes) -> Result<(), Closed> {
        self.stderr(line, self.screen).await
    }

    /// Writes to stderr, or to the terminal, which has no other.
    pub(super) async fn stderr(&self, data: Bytes, terminal: bool) -> Result<(), Closed> {
        const STDERR: u32 = 1; // RFC 4254 §5.2
        match terminal {
            true => self.stdout(data).await,
            false if self.over.load(Ordering::Relaxed) => Ok(()),
            false => self.until_closed(self.half.extended_data_bytes(STDERR, data)).await,
        }
    }

    /// A write that waits for the client's window does not hear of the client's close by itself.
    async fn until_closed(&self, write: impl Future<Output = Result<(), russh::Error>>) -> Result<(), Closed> {
        tokio::select! {
            biased;
            result = write => result.map_err(|_| Closed),
            () = self.events.closed.cancelled() => Err(Closed),
        }
    }
}
