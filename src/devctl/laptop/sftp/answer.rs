//! What an SFTP server answers, and who hears it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::super::remote;
use super::Wrong;
use super::way::{Came, Reader};
use crate::agent::sftp_codes::{fx, fxp};
use crate::agent::sftp_wire::{Attributes, Fields, Malformed};
use crate::plain::plain;

/// No server answers with more.
const MOST: usize = 1 << 20;

/// Who waits for the answer to which question.
pub(super) type Waiting = Arc<Mutex<HashMap<u32, oneshot::Sender<Bytes>>>>;

/// What came on stderr.
pub(super) type Said = Arc<Mutex<String>>;

/// Of which no more is kept.
const MOST_SAID: usize = 4096;

/// A question that was sent.
pub(in super::super) struct Asked(oneshot::Receiver<Bytes>);

/// What a server may answer.
pub(in super::super) enum Reply {
    Done,
    Eof,
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<Entry>),
    Attributes(Attributes),
}

/// A name in a folder, and what it is the name of.
pub(in super::super) type Entry = (OsString, Attributes);

impl Asked {
    pub(super) fn new(answer: oneshot::Receiver<Bytes>) -> Self {
        Self(answer)
    }

    /// Whether it is the server's version.
    pub(super) async fn greets(self) -> bool {
        self.0.await.is_ok_and(|packet| packet.first() == Some(&fxp::VERSION))
    }

    pub(in super::super) async fn reply(self) -> Result<Reply, Wrong> {
        let packet = self.0.await.map_err(|_| Wrong::Lost)?;
        parse(&packet).unwrap_or_else(|Malformed| Err(Wrong::nonsense()))
    }

    pub(in super::super) async fn attributes(self) -> Result<Attributes, Wrong> {
        match self.reply().await? {
            Reply::Attributes(attributes) => Ok(attributes),
            _ => Err(Wrong::nonsense()),
        }
    }

    pub(in super::super) async fn done(self) -> Result<(), Wrong> {
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
        fxp::STATUS => match fields.u32()? {
            fx::OK => Reply::Done,
            fx::EOF => Reply::Eof,
            fx::NO_SUCH_FILE => return Ok(Err(Wrong::Missing)),
            fx::PERMISSION_DENIED => return Ok(Err(Wrong::Refused("Permission denied".to_owned()))),
            code => {
                let words = String::from_utf8_lossy(fields.string().unwrap_or_default()).into_owned();
                let words = if words.is_empty() { format!("error {code}") } else { plain(&words) };
                return Ok(Err(Wrong::Refused(words)));
            }
        },
        fxp::HANDLE => Reply::Handle(packet.slice_ref(fields.string()?)),
        fxp::DATA => Reply::Data(packet.slice_ref(fields.string()?)),
        fxp::NAME => {
            let mut names = Vec::new();
            for _ in 0..fields.u32()? {
                let name = OsString::from_vec(fields.string()?.to_vec());
                // As `ls -l` has it, for people.
                fields.string()?;
                names.push((name, fields.attributes()?));
            }
            Reply::Names(names)
        }
        fxp::ATTRS => Reply::Attributes(fields.attributes()?),
        _ => return Err(Malformed),
    }))
}

/// The path of an answer that has just one.
pub(super) fn one(reply: Reply) -> Result<PathBuf, Wrong> {
    let Reply::Names(names) = reply else { return Err(Wrong::nonsense()) };
    <[Entry; 1]>::try_from(names).map(|[(name, _)]| name.into()).map_err(|_| Wrong::nonsense())
}

/// Hands each answer to whoever waits for it.
pub(super) async fn read(mut reader: Reader, said: Option<Said>, waiting: Waiting, ended: CancellationToken) {
    let ended = ended.drop_guard();
    let mut buffer = BytesMut::new();
    while let Some(came) = reader.next().await {
        match came {
            Came::Packets(data) => {
                buffer.extend_from_slice(&data);
                if !answer(&mut buffer, &waiting) {
                    break;
                }
            }
            Came::Said(data) => match &said {
                Some(said) if lock(said).len() < MOST_SAID => lock(said).push_str(&String::from_utf8_lossy(&data)),
                Some(_) => {}
                None => {
                    if remote::write(&mut tokio::io::stderr(), &data).await.is_err() {
                        break;
                    }
                }
            },
        }
    }
    drop(ended); // First: who asks now sees it, or is seen here.
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

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::sftp_wire::Replies as Packets;

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
        let data = packet(fxp::DATA, |packet| packet.string(b"data"));
        let other =
            packet(fxp::STATUS, |packet| packet.u32(0)).iter().map(|byte| if *byte == 7 { 8 } else { *byte }).collect();
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
        let whole = packet(fxp::NAME, |packet| {
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
        let denied = packet(fxp::STATUS, |packet| {
            packet.u32(4);
            packet.string(b"full\x1b[2J");
        });
        let Ok(Err(Wrong::Refused(words))) = parsed(&denied[4..]) else { panic!("it is refused") };
        assert_eq!(words, "full [2J");
    }
}
