//! The client's side of SFTP, version 3 (draft-ietf-secsh-filexfer-02), over a channel of devctl's own connection.
//!
//! Whoever asks may ask more before the answers come: on a long way that is what makes it fast.

mod wrong;

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::connection::Connection;
use super::failure::Failure;
use super::remote;
use crate::agent::sftp_wire::{Attributes, Fields, Malformed, Replies as Packets};
use crate::devctl::error::plain;
pub(super) use wrong::Wrong;

/// What RFC 4254 calls stderr.
const STDERR: u32 = 1;
/// The version of the protocol. Server and client tell it where other packets have their number.
const VERSION: u32 = 3;
/// No server answers with more.
const MOST: usize = 1 << 20;

/// An SFTP server that answers.
pub(super) struct Sftp {
    writer: ChannelWriteHalf<Msg>,
    waiting: Waiting,
    next: Cell<u32>,
    /// Nothing will be answered any more.
    ended: CancellationToken,
    _reading: AbortOnDropHandle<()>,
}

/// Who waits for the answer to which question.
type Waiting = Arc<Mutex<HashMap<u32, oneshot::Sender<Bytes>>>>;

/// What came on stderr.
type Said = Arc<Mutex<String>>;

/// Of which no more is kept.
const MOST_SAID: usize = 4096;

impl Sftp {
    /// Starts it; a DevServer that sleeps wakes, and tells on stderr how far it is. If that is to be `quiet`, what was said
    /// is told only where it fails.
    pub(super) async fn start(connection: &Connection, quiet: bool) -> Result<Self, Failure> {
        let channel = connection.handle.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        let (reader, writer) = channel.split();
        let (waiting, ended) = (Waiting::default(), CancellationToken::new());
        let said = quiet.then(Said::default);
        let reading = tokio::spawn(read(reader, said.clone(), waiting.clone(), ended.clone()));
        let sftp = Self { writer, waiting, next: Cell::new(VERSION), ended, _reading: AbortOnDropHandle::new(reading) };
        const INIT: u8 = 1;
        let greeted = match sftp.ask(INIT, |_| {}).await {
            Ok(asked) => asked.0.await,
            Err(_) => return Err(remote::lost()),
        };
        match greeted {
            Ok(greeting) if greeting.first() == Some(&2) => return Ok(sftp),
            _ if connection.handle.is_closed() => return Err(remote::lost()),
            _ => {}
        }
        let said = said.map(|said| lock(&said).trim().to_owned()).filter(|said| !said.is_empty());
        let message = said.unwrap_or_else(|| "the DevServer takes and gives no files now".to_owned());
        Err(Failure::new(message)
            .cure("`devctl doctor NAME` looks at each step of the way; `devctl why NAME` at a DevServer"))
    }

    /// What a path leads to, links followed.
    pub(super) async fn stat(&self, path: &Path) -> Result<Attributes, Wrong> {
        self.ask_stat(path).await?.attributes().await
    }

    pub(super) async fn ask_stat(&self, path: &Path) -> Result<Asked, Wrong> {
        self.about(17, path).await
    }

    /// The path without links and dots.
    pub(super) async fn real_path(&self, path: &Path) -> Result<PathBuf, Wrong> {
        one(self.about(16, path).await?.reply().await?)
    }

    /// `~` and `~/…` as the DevServer has them.
    pub(super) async fn expand(&self, path: &Path) -> Result<PathBuf, Wrong> {
        let asked = self.ask(200, |packet| {
            packet.string(b"expand-path@openssh.com");
            packet.string(path.as_os_str().as_bytes());
        });
        one(asked.await?.reply().await?)
    }

    /// What is in a folder, as the server tells it; of a link, what is known of the link.
    pub(super) async fn list(&self, path: &Path) -> Result<Vec<Entry>, Wrong> {
        let handle = self.handle(self.about(11, path).await?).await?;
        let mut names = Vec::new();
        let listed = loop {
            match self.on(12, &handle, |_| {}).await?.reply().await {
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
        let asked = self.ask(14, |packet| {
            packet.string(path.as_os_str().as_bytes());
            packet.attributes(&attributes);
        });
        asked.await?.done().await
    }

    pub(super) async fn set(&self, path: &Path, attributes: &Attributes) -> Result<(), Wrong> {
        let asked = self.ask(9, |packet| {
            packet.string(path.as_os_str().as_bytes());
            packet.attributes(attributes);
        });
        asked.await?.done().await
    }

    /// Opens a file by the flags of §6.3; a new one gets `mode`.
    pub(super) async fn open(&self, path: &Path, flags: u32, mode: u32) -> Result<Bytes, Wrong> {
        let attributes = Attributes { permissions: Some(mode), ..Attributes::default() };
        let asked = self.ask(3, |packet| {
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
        self.on(5, handle, fill).await
    }

    pub(super) async fn write(&self, handle: &Bytes, offset: u64, data: &[u8]) -> Result<Asked, Wrong> {
        let fill = |packet: &mut Packets| {
            packet.u64(offset);
            packet.string(data);
        };
        self.on(6, handle, fill).await
    }

    /// Sets what is known of a file that is open.
    pub(super) async fn set_open(&self, handle: &Bytes, attributes: &Attributes) -> Result<(), Wrong> {
        self.on(10, handle, |packet| packet.attributes(attributes)).await?.done().await
    }

    pub(super) async fn close(&self, handle: &Bytes) -> Result<(), Wrong> {
        self.on(4, handle, |_| {}).await?.done().await
    }

    /// Closes what was only read; nobody waits for the answer.
    pub(super) async fn leave(&self, handle: &Bytes) -> Result<(), Wrong> {
        self.on(4, handle, |_| {}).await.map(drop)
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
            sent = self.writer.data_bytes(packets.0) => match sent {
                Ok(()) => Ok(Asked(asked)),
                Err(_) => Err(Wrong::Lost),
            },
        }
    }
}

/// A question that was sent.
pub(super) struct Asked(oneshot::Receiver<Bytes>);

/// What a server may answer.
pub(super) enum Reply {
    Done,
    Eof,
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<Entry>),
    Attributes(Attributes),
}

/// A name in a folder, and what it is the name of.
pub(super) type Entry = (OsString, Attributes);

impl Asked {
    pub(super) async fn reply(self) -> Result<Reply, Wrong> {
        let packet = self.0.await.map_err(|_| Wrong::Lost)?;
        parse(&packet).unwrap_or_else(|Malformed| Err(Wrong::nonsense()))
    }

    pub(super) async fn attributes(self) -> Result<Attributes, Wrong> {
        match self.reply().await? {
            Reply::Attributes(attributes) => Ok(attributes),
            _ => Err(Wrong::nonsense()),
        }
    }

    pub(super) async fn done(self) -> Result<(), Wrong> {
        match self.reply().await? {
            Reply::Done => Ok(()),
            _ => Err(Wrong::nonsense()),
        }
    }
}

fn parse(packet: &Bytes) -> Result<Result<Reply, Wrong>, Malformed> {
    let mut fields = Fields(packet);
    let (kind, _number) = (fields.byte()?, fields.u32()?);
    Ok(Ok(match kind {
        101 => match fields.u32()? {
            0 => Reply::Done,
            1 => Reply::Eof,
            2 => return Ok(Err(Wrong::Missing)),
            3 => return Ok(Err(Wrong::Refused("Permission denied".to_owned()))),
            code => {
                let words = String::from_utf8_lossy(fields.string().unwrap_or_default()).into_owned();
                let words = if words.is_empty() { format!("error {code}") } else { plain(&words) };
                return Ok(Err(Wrong::Refused(words)));
            }
        },
        102 => Reply::Handle(packet.slice_ref(fields.string()?)),
        103 => Reply::Data(packet.slice_ref(fields.string()?)),
        104 => {
            let mut names = Vec::new();
            for _ in 0..fields.u32()? {
                let name = OsString::from_vec(fields.string()?.to_vec());
                // As `ls -l` has it, for people.
                fields.string()?;
                names.push((name, fields.attributes()?));
            }
            Reply::Names(names)
        }
        105 => Reply::Attributes(fields.attributes()?),
        _ => return Err(Malformed),
    }))
}

/// The path of an answer that has just one.
fn one(reply: Reply) -> Result<PathBuf, Wrong> {
    let Reply::Names(names) = reply else { return Err(Wrong::nonsense()) };
    <[Entry; 1]>::try_from(names).map(|[(name, _)]| name.into()).map_err(|_| Wrong::nonsense())
}

/// Hands each answer to whoever waits for it.
async fn read(mut reader: ChannelReadHalf, said: Option<Said>, waiting: Waiting, ended: CancellationToken) {
    let _ended = ended.drop_guard();
    let mut buffer = BytesMut::new();
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                buffer.extend_from_slice(&data);
                if !answer(&mut buffer, &waiting) {
                    break;
                }
            }
            ChannelMsg::ExtendedData { data, ext: STDERR } => match &said {
                Some(said) if lock(said).len() < MOST_SAID => lock(said).push_str(&String::from_utf8_lossy(&data)),
                Some(_) => {}
                None => {
                    if remote::write(&mut tokio::io::stderr(), &data).await.is_err() {
                        break;
                    }
                }
            },
            ChannelMsg::Failure | ChannelMsg::Close => break,
            _ => {}
        }
    }
    lock(&waiting).clear();
}

/// Takes the whole packets. Whether they make sense.
fn answer(buffer: &mut BytesMut, waiting: &Waiting) -> bool {
    while let Some(size) = buffer.first_chunk().map(|size| u32::from_be_bytes(*size) as usize) {
        if !(5..=MOST).contains(&size) {
            return false;
        }
        if buffer.len() < 4 + size {
            break;
        }
        let packet = buffer.split_to(4 + size).freeze().slice(4..);
        let number = packet.get(1..5).and_then(|number| number.try_into().ok()).map(u32::from_be_bytes);
        if let Some(waiting) = number.and_then(|number| lock(waiting).remove(&number)) {
            // It may have been given up.
            let _ = waiting.send(packet);
        }
    }
    true
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, fill: impl FnOnce(&mut Packets)) -> Vec<u8> {
        let mut packets = Packets::default();
        packets.packet(kind, |packet| {
            packet.u32(7);
            fill(packet);
        });
        packets.0
    }

    #[test]
    fn answers_come_in_any_order_and_in_pieces() {
        let waiting = Waiting::default();
        let (sender, mut asked) = oneshot::channel();
        lock(&waiting).insert(7, sender);
        let data = packet(103, |packet| packet.string(b"data"));
        let other = packet(101, |packet| packet.u32(0)).iter().map(|byte| if *byte == 7 { 8 } else { *byte }).collect();
        let bytes = [other, data].concat();
        let mut buffer = BytesMut::new();
        for byte in bytes {
            assert!(asked.try_recv().is_err());
            buffer.extend_from_slice(&[byte]);
            assert!(answer(&mut buffer, &waiting));
        }
        let Ok(Ok(Reply::Data(data))) = parse(&asked.try_recv().unwrap()) else { panic!("it is data") };
        assert_eq!(&data[..], b"data");
        buffer.extend_from_slice(&[255; 8]);
        assert!(!answer(&mut buffer, &waiting));
    }

    #[test]
    fn no_answer_is_believed_that_is_cut_off() {
        let whole = packet(104, |packet| {
            packet.u32(1);
            packet.string(b"name");
            packet.string(b"-rw-r--r-- name");
            packet.attributes(&Attributes { size: Some(1), ..Attributes::default() });
        });
        let parsed = |packet: &[u8]| parse(&Bytes::copy_from_slice(packet));
        assert!(
            matches!(parsed(&whole[4..]), Ok(Ok(Reply::Names(names))) if names[0].0 == "name" && names[0].1.size == Some(1))
        );
        for end in 4..whole.len() {
            assert!(parsed(&whole[4..end]).is_err(), "{end}");
        }
        let denied = packet(101, |packet| {
            packet.u32(4);
            packet.string(b"full\x1b[2J");
        });
        let Ok(Err(Wrong::Refused(words))) = parsed(&denied[4..]) else { panic!("it is refused") };
        assert_eq!(words, "full [2J");
    }
}
