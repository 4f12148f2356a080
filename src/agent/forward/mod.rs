//! Connections into the pod and out of it: made and accepted here, copied to and from streams of the carrier.

mod listen;
mod resolve;
mod ssh_agent;
mod x11;

pub(super) use listen::listen;
pub(super) use ssh_agent::SshAgentSocket;
pub(super) use x11::{Display, Leading};

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::request::{Address, Response};
use super::{activity, open_files, piece};
use crate::carrier::{Message, Receiver, Sender, Stream};

/// What addresses that do not answer may take, all of a host together.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects to `address` and copies until both sides have ended.
pub(super) async fn connect(address: Address, stream: Stream) {
    let connected = async {
        open_files::room()?;
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
            if stream.sender.send(Message::control(&Response::Started)).is_ok() {
                socket.copy(stream).await;
            }
        }
        Err(error) => {
            let _ = stream.sender.send(Message::control(&Response::NotStarted(error.to_string())));
        }
    }
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let until = Instant::now() + PATIENCE;
    let addresses = resolve::addresses(host).await?;
    let stream = first(&addresses, until, |address| TcpStream::connect((address, port))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Tries each address in turn: one that does not answer leaves the others their share of the time.
async fn first<T, C>(addresses: &[IpAddr], until: Instant, connect: impl Fn(IpAddr) -> C) -> io::Result<T>
where
    C: Future<Output = io::Result<T>>,
{
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (left, &address) in (1..=addresses.len() as u32).rev().zip(addresses) {
        let share = until.saturating_duration_since(Instant::now()) / left;
        match timeout(share, connect(address)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
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
    // As with sshd: who reads no more is still heard out, and who has ended may still read; then both are over.
    let deaf = Notify::new();
    let up = async {
        up(source, &sender).await?;
        deaf.notified().await;
        Err::<(), _>(io::ErrorKind::BrokenPipe.into())
    };
    let _ = tokio::try_join!(up, down(receiver, sink, &deaf));
}

async fn up(mut source: impl AsyncRead + Unpin, sender: &Sender) -> io::Result<()> {
    loop {
        let data = piece::read(&mut source).await?;
        if data.is_empty() {
            let _ = sender.send(Message::Eof);
            return Ok(());
        }
        activity::forwarded(data.len());
        // Whoever has closed reads no more, and what she sent before still goes down: this is thrown away, as by sshd.
        let _ = sender.data(data).await;
    }
}

/// What the sink does not take is thrown away, and `deaf` told.
async fn down(mut receiver: Receiver, mut sink: impl AsyncWrite + Unpin, deaf: &Notify) -> io::Result<()> {
    let mut takes = true;
    while let Some((message, _credit)) = receiver.receive().await {
        let taken = match message {
            Message::Data(data) if takes => {
                activity::forwarded(data.len());
                sink.write_all(&data).await
            }
            Message::Eof if takes => sink.shutdown().await,
            _ => Ok(()),
        };
        if taken.is_err() {
            takes = false;
            deaf.notify_one();
        }
    }
    Err(io::ErrorKind::ConnectionAborted.into()) // Nobody listens any more, whatever the source still has.
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use futures::StreamExt;
    use futures::channel::mpsc;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::carrier::linked::while_linked;
    use crate::carrier::{Carrier, Keepalive, Link, Side, accept};

    /// A host whose IPv6 leads nowhere was never reached by IPv4.
    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_others() {
        let [silent, answers] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let connect =
            |address| async move { if address == silent { std::future::pending().await } else { Ok(address) } };
        let until = Instant::now() + Duration::from_millis(100);
        let connected = timeout(PATIENCE, first(&[silent, answers], until, connect)).await;
        assert_eq!(connected.unwrap().unwrap(), answers);
        let until = Instant::now() + Duration::from_millis(100);
        let failed = timeout(PATIENCE, first(&[silent], until, connect)).await;
        assert_eq!(failed.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    /// What the client had sent before was thrown away with the first answer that nobody would read.
    #[tokio::test]
    async fn what_was_sent_before_the_end_arrives_although_the_program_answers() {
        let (bastion, _) = Carrier::new(Side::Bastion, "one".into());
        let (agent, mut incoming) = Carrier::new(Side::Agent, "one".into());
        let (to_agent, from_bastion) = mpsc::channel::<Bytes>(2);
        let (to_bastion, from_agent) = mpsc::channel::<Bytes>(2);
        tokio::spawn(async move {
            let mut source = from_bastion.map(Ok::<_, Infallible>);
            let accepted = accept(&mut source).await.unwrap();
            agent.accepted(Link { source, sink: to_bastion }, accepted).await
        });
        let keepalive = Keepalive { ping: PATIENCE, patience: 3, grace: PATIENCE };
        let client = bastion.open(Bytes::from_static(b"x"));
        let linked = bastion.clone();
        tokio::spawn(async move {
            let link = Link { source: from_agent.map(Ok::<_, Infallible>), sink: to_agent };
            linked.link(link, keepalive, |_| {}).await
        });
        let (_, stream) = incoming.recv().await.unwrap();
        client.sender.data(vec![7; 500_000].into()).await.unwrap();
        client.sender.send(Message::Eof).unwrap();
        drop(client);
        // The agent has heard all of it.
        bastion.settled().await;
        let (socket, mut program) = duplex(1000);
        let (source, sink) = tokio::io::split(socket);
        tokio::spawn(copy(source, sink, stream));
        program.write_all(b"an answer").await.unwrap();
        let mut read = Vec::new();
        timeout(PATIENCE, program.read_to_end(&mut read)).await.unwrap().unwrap();
        assert_eq!(read.len(), 500_000);
    }

    /// Takes nothing, and tells that it should have.
    struct Deaf(Arc<Notify>);

    impl AsyncWrite for Deaf {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            self.0.notify_one();
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Regression: such a program's last words were thrown away with what it did not read.
    #[tokio::test]
    async fn a_program_that_reads_no_more_is_heard_out() {
        let (bastion, _) = Carrier::new(Side::Bastion, "one".into());
        let (agent, mut incoming) = Carrier::new(Side::Agent, "one".into());
        let test = async {
            let mut client = bastion.open(Bytes::from_static(b"x"));
            let (_, stream) = incoming.recv().await.unwrap();
            let ((mut program, source), asked) = (duplex(100), Arc::<Notify>::default());
            tokio::spawn(copy(source, Deaf(asked.clone()), stream));
            client.sender.data(Bytes::from_static(b"unread")).await.unwrap();
            asked.notified().await;
            program.write_all(b"last words").await.unwrap();
            let (message, _) = client.receiver.receive().await.expect("it is heard");
            assert!(matches!(message, Message::Data(data) if data == "last words"));
            drop(program);
            while client.receiver.receive().await.is_some() {}
        };
        while_linked(&bastion, |_| agent.clone(), test).await;
    }
}
