//! What lies between devctl and an SFTP server: a channel of its SSH connection, or a pod that it has entered.

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::mpsc;

use super::Wrong;
use crate::workspace::Output;

/// What RFC 4254 calls stderr.
const STDERR: u32 = 1;

pub(super) enum Writer {
    Channel(ChannelWriteHalf<Msg>),
    Process(mpsc::Sender<Bytes>),
}

pub(super) enum Reader {
    Channel(ChannelReadHalf),
    Process(mpsc::Receiver<Output>),
}

/// What comes.
pub(super) enum Came {
    Packets(Bytes),
    /// On stderr.
    Said(Bytes),
}

impl Writer {
    /// It may wait for the server to take it.
    pub(super) async fn send(&self, packets: Bytes) -> Result<(), Wrong> {
        match self {
            Self::Channel(channel) => channel.data_bytes(packets).await.map_err(|_| Wrong::Lost),
            Self::Process(stdin) => stdin.send(packets).await.map_err(|_| Wrong::Lost),
        }
    }
}

impl Reader {
    /// None: nothing more comes.
    pub(super) async fn next(&mut self) -> Option<Came> {
        loop {
            match self {
                Self::Channel(channel) => match channel.wait().await? {
                    ChannelMsg::Data { data } => return Some(Came::Packets(data)),
                    ChannelMsg::ExtendedData { data, ext: STDERR } => return Some(Came::Said(data)),
                    ChannelMsg::Failure | ChannelMsg::Close => return None,
                    _ => {}
                },
                Self::Process(output) => match output.recv().await? {
                    Output::Stdout(data) => return Some(Came::Packets(data)),
                    Output::Stderr(data) => return Some(Came::Said(data)),
                    Output::Failed(error) => return Some(Came::Said(format!("{}\n", error.user_message()).into())),
                    Output::Exit(_) => return None,
                    _ => {}
                },
            }
        }
    }
}
