//! The bytes of one file, piece by piece in their order. Of a DevServer's many pieces are on their way at once.

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::sftp::{Asked, Reply, Sftp, Wrong};
use super::end::{self, End};
use crate::agent::sftp_codes::fxf;
use crate::agent::sftp_wire::Attributes;

/// No server of SFTP takes less, or gives less, in one packet than 32 KiB; ours, and OpenSSH's, 255.
const PIECE: u32 = 128 * 1024;
/// Pieces that are on their way, as many as fill the window of a connection.
const ON_THEIR_WAY: usize = 32;

const READ: u32 = fxf::READ;
/// To write, to make it, and to begin with nothing.
const WRITE: u32 = fxf::WRITE | fxf::CREAT | fxf::TRUNC;

pub(super) enum Source {
    Here(File),
    There(Reading),
}

pub(super) struct Reading {
    sftp: Rc<Sftp>,
    handle: Bytes,
    /// What is asked next.
    next: u64,
    /// How long the file was; it may have become longer.
    size: u64,
    asked: VecDeque<(u64, u32, Asked)>,
}

impl Source {
    pub(super) async fn open(end: &End, path: &Path, size: u64) -> Result<Self, Wrong> {
        match end {
            End::Here => Ok(Self::Here(File::open(path).await?)),
            End::There { sftp, .. } => {
                let handle = sftp.open(path, READ, 0).await?;
                let sftp = sftp.clone();
                Ok(Self::There(Reading { sftp, handle, next: 0, size, asked: VecDeque::new() }))
            }
        }
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Wrong> {
        match self {
            Self::Here(file) => {
                let mut piece = BytesMut::with_capacity(PIECE as usize);
                let read = file.read_buf(&mut piece).await?;
                Ok((read > 0).then(|| piece.freeze()))
            }
            Self::There(reading) => reading.next().await,
        }
    }

    pub(super) async fn close(self) -> Result<(), Wrong> {
        match self {
            Self::Here(_) => Ok(()),
            Self::There(reading) => reading.sftp.leave(&reading.handle).await,
        }
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Wrong> {
        // One more than there is, which tells that there is no more.
        while self.asked.is_empty() || self.next <= self.size && self.asked.len() < ON_THEIR_WAY {
            let left = self.size.saturating_sub(self.next);
            let size = u32::try_from(left).map_or(PIECE, |left| if left == 0 { PIECE } else { left.min(PIECE) });
            let asked = self.sftp.read(&self.handle, self.next, size).await?;
            self.asked.push_back((self.next, size, asked));
            self.next += u64::from(size);
        }
        let Some((offset, size, asked)) = self.asked.pop_front() else { return Ok(None) };
        let data = match asked.reply().await? {
            Reply::Data(data) if !data.is_empty() && data.len() <= size as usize => data,
            Reply::Eof => return Ok(None),
            _ => return Err(Wrong::nonsense()),
        };
        let read = u32::try_from(data.len()).unwrap_or(size);
        if read < size {
            // The rest, before what follows it.
            let (offset, size) = (offset + u64::from(read), size - read);
            let asked = self.sftp.read(&self.handle, offset, size).await?;
            self.asked.push_front((offset, size, asked));
        }
        Ok(Some(data))
    }
}

pub(super) enum Sink {
    Here(File),
    There(Writing),
}

pub(super) struct Writing {
    sftp: Rc<Sftp>,
    handle: Bytes,
    offset: u64,
    sent: VecDeque<Asked>,
}

impl Sink {
    /// Makes the file, or empties the one that is there, which keeps its mode.
    pub(super) async fn create(end: &End, path: &Path, mode: u32) -> Result<Self, Wrong> {
        match end {
            End::Here => {
                let mut options = OpenOptions::new();
                Ok(Self::Here(options.write(true).create(true).truncate(true).mode(mode).open(path).await?))
            }
            End::There { sftp, .. } => {
                let handle = sftp.open(path, WRITE, mode).await?;
                Ok(Self::There(Writing { sftp: sftp.clone(), handle, offset: 0, sent: VecDeque::new() }))
            }
        }
    }

    pub(super) async fn write(&mut self, piece: &Bytes) -> Result<(), Wrong> {
        match self {
            Self::Here(file) => Ok(file.write_all(piece).await?),
            Self::There(Writing { sftp, handle, offset, sent }) => {
                if sent.len() >= ON_THEIR_WAY
                    && let Some(oldest) = sent.pop_front()
                {
                    oldest.done().await?;
                }
                sent.push_back(sftp.write(handle, *offset, piece).await?);
                *offset += piece.len() as u64;
                Ok(())
            }
        }
    }

    /// Waits until all is written, and closes the file; with `attributes` it gets the mode and the times of another.
    pub(super) async fn finish(&mut self, attributes: Option<&Attributes>) -> Result<(), Wrong> {
        match self {
            Self::Here(file) => {
                file.flush().await?;
                match attributes {
                    Some(attributes) => end::keep(&file.try_clone().await?.into_std().await, attributes),
                    None => Ok(()),
                }
            }
            Self::There(Writing { sftp, handle, sent, .. }) => {
                let written = async {
                    while let Some(oldest) = sent.pop_front() {
                        oldest.done().await?;
                    }
                    match attributes {
                        Some(attributes) => sftp.set_open(handle, &end::kept(attributes)).await,
                        None => Ok(()),
                    }
                };
                let written = written.await;
                // It has only so many open.
                let closed = sftp.close(handle).await;
                written.and(closed)
            }
        }
    }

    /// Closes it as it is.
    pub(super) async fn give_up(self) -> Result<(), Wrong> {
        match self {
            Self::Here(_) => Ok(()),
            Self::There(Writing { sftp, handle, .. }) => sftp.leave(&handle).await,
        }
    }
}
