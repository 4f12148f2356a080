//! The client-bound half of a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use russh::ChannelWriteHalf;
use russh::server::Msg;

use super::events::Events;
use super::message;
use crate::workspace::{Command, Program};

/// The client closed the channel or is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// What the client has a channel end in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A terminal with the screen of a shell.
    Screen,
    /// A terminal that a command writes to. Its output may be read by a program all the same, as Ansible reads it.
    Terminal,
    Pipes,
}

impl End {
    pub(super) fn of(command: &Command) -> Self {
        match (&command.terminal, &command.program) {
            (None, _) => Self::Pipes,
            (Some(_), Program::Shell | Program::Shells(_)) => Self::Screen,
            (Some(_), Program::Command(_) | Program::Sftp) => Self::Terminal,
        }
    }

    pub(super) fn is_terminal(self) -> bool {
        self != Self::Pipes
    }
}

/// The client-bound half of a channel. Waits for the client's window, until the client closes the channel.
pub(super) struct Writer {
    pub(super) half: ChannelWriteHalf<Msg>,
    pub(super) events: Arc<Events>,
    pub(super) end: End,
    /// Nothing more may follow.
    over: AtomicBool,
    /// The client knows how the program ended.
    told: AtomicBool,
}

impl Writer {
    pub(super) fn new(half: ChannelWriteHalf<Msg>, events: Arc<Events>, end: End) -> Self {
        Self { half, events, end, over: AtomicBool::new(false), told: AtomicBool::new(false) }
    }

    /// Tells the client that no output follows; once. What the bastion itself would say then is not said: OpenSSH's
    /// client ends its connection at data on stderr that comes after.
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

    /// A line that the bastion itself says.
    pub(super) async fn say(&self, text: &str) -> Result<(), Closed> {
        let line = if self.end.is_terminal() { message::terminal_line(text) } else { message::line(text) };
        self.draw(line).await
    }

    /// What the bastion itself draws: on the screen of a shell, or beside a command's output.
    pub(super) async fn draw(&self, bytes: Bytes) -> Result<(), Closed> {
        match self.end {
            End::Screen => self.stdout(bytes).await,
            End::Terminal | End::Pipes => self.beside(bytes).await,
        }
    }

    /// A program's stderr; a terminal has none beside its output.
    pub(super) async fn stderr(&self, data: Bytes) -> Result<(), Closed> {
        match self.end {
            End::Screen | End::Terminal => self.stdout(data).await,
            End::Pipes => self.beside(data).await,
        }
    }

    async fn beside(&self, data: Bytes) -> Result<(), Closed> {
        const STDERR: u32 = 1; // RFC 4254 §5.2
        match self.over.load(Ordering::Relaxed) {
            true => Ok(()),
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
