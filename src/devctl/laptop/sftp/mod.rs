//! The client's side of SFTP, version 3 (draft-ietf-secsh-filexfer-02), over a way of devctl's own.
//!
//! Whoever asks may ask more before the answers come: on a long way that is what makes it fast.

mod answer;
mod way;
mod wrong;

use std::cell::Cell;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::connection::Connection;
use super::failure::Failure;
use super::remote;
use crate::agent::sftp_codes::{VERSION, fxp};
use crate::agent::sftp_wire::{Attributes, Replies as Packets};
use crate::workspace::Process;
pub(super) use answer::{Asked, Reply};
use answer::{Entry, Said, Waiting, lock, one, read};
use way::{Reader, Writer};
pub(super) use wrong::Wrong;

/// An SFTP server that answers.
pub(super) struct Sftp {
    writer: Writer,
    waiting: Waiting,
    next: Cell<u32>,
    /// Nothing will be answered any more.
    ended: CancellationToken,
    _reading: AbortOnDropHandle<()>,
}

impl Sftp {
    /// Starts it; a DevServer that sleeps wakes, and tells on stderr how far it is. If that is to be `quiet`, what was
    /// said is told only where it fails.
    pub(super) async fn start(connection: &Connection, quiet: bool) -> Result<Self, Failure> {
        let channel = connection.handle.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        let (reader, writer) = channel.split();
        let greeted = Self::greet(Writer::Channel(writer), Reader::Channel(reader), quiet).await;
        greeted.map_err(|failure| if connection.handle.is_closed() { remote::lost() } else { failure })
    }

    /// The same over a process in a pod, which is the server.
    pub(super) async fn over(process: Process) -> Result<Self, Failure> {
        let Process { stdin, output, .. } = process;
        Self::greet(Writer::Process(stdin), Reader::Process(output), false).await
    }

    async fn greet(writer: Writer, reader: Reader, quiet: bool) -> Result<Self, Failure> {
        let (waiting, ended) = (Waiting::default(), CancellationToken::new());
        let said = quiet.then(Said::default);
        let reading = tokio::spawn(read(reader, said.clone(), waiting.clone(), ended.clone()));
        // It stands where other packets have their number.
        let sftp = Self { writer, waiting, next: Cell::new(VERSION), ended, _reading: AbortOnDropHandle::new(reading) };
        let is_greeted = match sftp.ask(fxp::INIT, |_| {}).await {
            Ok(asked) => asked.greets().await,
            Err(_) => false,
        };
        if is_greeted {
            return Ok(sftp);
        }
        let said = said.map(|said| lock(&said).trim().to_owned()).filter(|said| !said.is_empty());
        let message = said.unwrap_or_else(|| "files cannot be copied to or from the DevServer now".to_owned());
        Err(Failure::new(message)
            .cure("`devctl doctor NAME` looks at each step of the way; `devctl why NAME` at a DevServer"))
    }

    /// What a path leads to, links followed.
    pub(super) async fn stat(&self, path: &Path) -> Result<Attributes, Wrong> {
        self.ask_stat(path).await?.attributes().await
    }

    pub(super) async fn ask_stat(&self, path: &Path) -> Result<Asked, Wrong> {
        self.about(fxp::STAT, path).await
    }

    /// The path without links and dots.
    pub(super) async fn real_path(&self, path: &Path) -> Result<PathBuf, Wrong> {
        one(self.about(fxp::REALPATH, path).await?.reply().await?)
    }

    /// What is in a folder, as the server tells it; of a link, what is known of the link.
    pub(super) async fn list(&self, path: &Path) -> Result<Vec<Entry>, Wrong> {
        let handle = self.handle(self.about(fxp::OPENDIR, path).await?).await?;
        let mut names = Vec::new();
        let listed = loop {
            match self.on(fxp::READDIR, &handle, |_| {}).await?.reply().await {
                Ok(Reply::Names(more)) => names.extend(more),
                Ok(Reply::Eof) => break Ok(names),
                Ok(_) => break Err(Wrong::nonsense()),
                Err(wrong) => break Err(wrong),
            }
        };
        self.leave(&handle).await?;
        listed
    }

    pub(super) async fn make_folder(&self, path: &Path, mode: u32) -> Result<(), Wrong> {
        let attributes = Attributes { permissions: Some(mode), ..Attributes::default() };
        let asked = self.ask(fxp::MKDIR, |packet| {
            packet.string(path.as_os_str().as_bytes());
            packet.attributes(&attributes);
        });
        asked.await?.done().await
    }

    pub(super) async fn set(&self, path: &Path, attributes: &Attributes) -> Result<(), Wrong> {
        let asked = self.ask(fxp::SETSTAT, |packet| {
            packet.string(path.as_os_str().as_bytes());
            packet.attributes(attributes);
        });
        asked.await?.done().await
    }

    /// Opens a file by the flags of §6.3; a new one gets `mode`.
    pub(super) async fn open(&self, path: &Path, flags: u32, mode: u32) -> Result<Bytes, Wrong> {
        let attributes = Attributes { permissions: Some(mode), ..Attributes::default() };
        let asked = self.ask(fxp::OPEN, |packet| {
            packet.string(path.as_os_str().as_bytes());
            packet.u32(flags);
            packet.attributes(&attributes);
        });
        self.handle(asked.await?).await
    }

    pub(super) async fn read(&self, handle: &Bytes, offset: u64, size: u32) -> Result<Asked, Wrong> {
        let fill = |packet: &mut Packets| {
            packet.u64(offset);
            packet.u32(size);
        };
        self.on(fxp::READ, handle, fill).await
    }

    pub(super) async fn write(&self, handle: &Bytes, offset: u64, data: &[u8]) -> Result<Asked, Wrong> {
        let fill = |packet: &mut Packets| {
            packet.u64(offset);
            packet.string(data);
        };
        self.on(fxp::WRITE, handle, fill).await
    }

    /// Sets what is known of a file that is open.
    pub(super) async fn set_open(&self, handle: &Bytes, attributes: &Attributes) -> Result<(), Wrong> {
        self.on(fxp::FSETSTAT, handle, |packet| packet.attributes(attributes)).await?.done().await
    }

    pub(super) async fn close(&self, handle: &Bytes) -> Result<(), Wrong> {
        self.on(fxp::CLOSE, handle, |_| {}).await?.done().await
    }

    /// Closes what was only read; nobody waits for the answer.
    pub(super) async fn leave(&self, handle: &Bytes) -> Result<(), Wrong> {
        self.on(fxp::CLOSE, handle, |_| {}).await.map(drop)
    }

    async fn handle(&self, asked: Asked) -> Result<Bytes, Wrong> {
        match asked.reply().await? {
            Reply::Handle(handle) => Ok(handle),
            _ => Err(Wrong::nonsense()),
        }
    }

    async fn about(&self, kind: u8, path: &Path) -> Result<Asked, Wrong> {
        self.ask(kind, |packet| packet.string(path.as_os_str().as_bytes())).await
    }

    async fn on(&self, kind: u8, handle: &Bytes, fill: impl FnOnce(&mut Packets)) -> Result<Asked, Wrong> {
        let fill = |packet: &mut Packets| {
            packet.string(handle);
            fill(packet);
        };
        self.ask(kind, fill).await
    }

    /// Sends a question. It may wait for the server to take it, and not for the answer.
    async fn ask(&self, kind: u8, fill: impl FnOnce(&mut Packets)) -> Result<Asked, Wrong> {
        let number = self.next.replace(self.next.get().wrapping_add(1));
        let (answer, asked) = oneshot::channel();
        lock(&self.waiting).insert(number, answer);
        let mut packets = Packets::default();
        packets.packet(kind, |packet| {
            packet.u32(number);
            fill(packet);
        });
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(Wrong::Lost),
            sent = self.writer.send(packets.0.into()) => sent.map(|()| Asked::new(asked)),
        }
    }
}
