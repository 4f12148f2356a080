//! Connections into the pod and out of it: made and accepted here, copied to and from streams of the carrier.

mod listen;
mod resolve;
mod x11;

pub(super) use listen::{SshAgentSocket, listen};
pub(super) use x11::{Display, Leading};

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::request::{Address, News};
use super::{activity, piece};
use crate::carrier::{Message, Receiver, Sender, Stream};

/// What an address that does not answer may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Connects to `address` and copies until both sides have ended.
pub(super) async fn connect(address: Address, stream: Stream) {
    let connected = async {
        match &address {
            Address::Tcp { host, port } => connect_tcp(host, *port).await.map(Socket::Tcp),
            Address::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        }
    };
    let connected = match timeout(PATIENCE, connected).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    match connected {
        Ok(socket) => {
            if stream.sender.send(Message::control(&News::Started)).is_ok() {
                socket.copy(stream).await;
            }
        }
        Err(error) => {
            let _ = stream.sender.send(Message::control(&News::NotStarted(error.to_string())));
        }
    }
}

/// Tries each address of the host in turn.
async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolve::addresses(host).await? {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A connected socket.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Copies both ways until the other end of `stream` ends it, which it does once both directions are done.
    async fn copy(self, stream: Stream) {
        match self {
            Self::Tcp(socket) => {
                let (source, sink) = socket.into_split();
                copy(source, sink, stream).await;
            }
            Self::Unix(socket) => {
                let (source, sink) = socket.into_split();
                copy(source, sink, stream).await;
            }
        }
    }
}

async fn copy(source: impl AsyncRead + Unpin, sink: impl AsyncWrite + Unpin, stream: Stream) {
    let Stream { sender, receiver } = stream;
    let _counted = activity::forward();
    // An error either way, a reset say, ends both; the end of one direction does not.
    let _ = tokio::try_join!(up(source, &sender), down(receiver, sink));
}

async fn up(mut source: impl AsyncRead + Unpin, sender: &Sender) -> io::Result<()> {
    loop {
        let data = piece::read(&mut source).await?;
        if data.is_empty() {
            return sender.send(Message::Eof).map_err(io::Error::other);
        }
        activity::forwarded(data.len());
        sender.data(data).await.map_err(io::Error::other)?;
    }
}

async fn down(mut receiver: Receiver, mut sink: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some((message, _credit)) = receiver.receive().await {
        match message {
            Message::Data(data) => {
                activity::forwarded(data.len());
                sink.write_all(&data).await?;
            }
            Message::Eof => sink.shutdown().await?,
            _ => {}
        }
    }
    Err(io::ErrorKind::ConnectionAborted.into()) // Nobody listens any more, whatever the source still has.
}
