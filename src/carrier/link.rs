//! Serves a carrier over one pair of byte streams, for as long as that lasts.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Sink, SinkExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::frame::{Body, Frame, Hello};
use super::{Carrier, Error, VERSION};

/// Bytes of frames, but for the last of them, that are written as one: few and large writes, for all that lies between
/// takes its time for each.
const BATCH: usize = 96 * 1024;
/// What a side that said nothing yet may need to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// What comes and where to write; pieces are of any size.
pub struct Link<R, W> {
    pub source: R,
    pub sink: W,
}

/// How a silent link is told from a dead one, and what is done about that.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    pub ping: Duration,
    /// Pings without any word from the other side after which it is gone.
    pub patience: u32,
    /// How long the next link is waited for, on both sides.
    pub grace: Duration,
}

/// The first frame from a side that wants to link to the carrier it names.
pub struct Accepted {
    hello: Hello,
    buffer: BytesMut,
}

impl Accepted {
    /// The name of the carrier.
    pub fn carrier(&self) -> &str {
        &self.hello.carrier
    }

    /// How long the other side waits for the next link when this one breaks.
    pub fn grace(&self) -> Option<Duration> {
        self.hello.grace.map(Duration::from_secs)
    }

    /// Whether it is new to the other side too.
    pub fn is_new(&self) -> bool {
        self.hello.received.is_empty()
    }
}

/// Reads the hello of the side that links.
pub async fn accept<R, E>(source: &mut R) -> Result<Accepted, Error>
where
    R: futures::Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut buffer = BytesMut::new();
    let hello = read_hello(source, &mut buffer).await?;
    Ok(Accepted { hello, buffer })
}

impl Carrier {
    /// Links the carrier anew to the side that knows it, and serves until that breaks. Takes over from an older link.
    /// `linked` is called once both sides have agreed.
    pub async fn link<R, W, E, F>(
        &self,
        mut link: Link<R, W>,
        keepalive: Keepalive,
        linked: impl FnOnce(),
    ) -> Result<(), Error>
    where
        R: futures::Stream<Item = Result<Bytes, E>> + Unpin,
        W: Sink<Bytes, Error = F> + Unpin,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (unlink, _linked) = self.take_over().await;
        let mut buffer = BytesMut::new();
        self.say_hello(&mut link.sink, Some(keepalive.grace)).await?;
        let hello = read_hello(&mut link.source, &mut buffer).await?;
        if hello.carrier != self.name() {
            return Err(Error::Forgotten);
        }
        self.0.state().relink(&hello.received)?;
        linked();
        self.serve(link, buffer, Some(keepalive), unlink).await
    }

    /// The other end of [`Carrier::link`], after [`accept`].
    pub async fn accepted<R, W, E, F>(&self, mut link: Link<R, W>, accepted: Accepted) -> Result<(), Error>
    where
        R: futures::Stream<Item = Result<Bytes, E>> + Unpin,
        W: Sink<Bytes, Error = F> + Unpin,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (unlink, _linked) = self.take_over().await;
        self.say_hello(&mut link.sink, None).await?;
        self.0.state().relink(&accepted.hello.received)?;
        self.serve(link, accepted.buffer, None, unlink).await
    }

    /// Ends the link in use, and waits until it took the last of what came.
    async fn take_over(&self) -> (CancellationToken, tokio::sync::MutexGuard<'_, ()>) {
        let ours = CancellationToken::new();
        std::mem::replace(&mut *self.0.unlink(), ours.clone()).cancel();
        (ours, self.0.linked.lock().await)
    }

    async fn say_hello<W, F>(&self, sink: &mut W, grace: Option<Duration>) -> Result<(), Error>
    where
        W: Sink<Bytes, Error = F> + Unpin,
        F: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let received = self.0.state().received();
        let grace = grace.map(|grace| grace.as_secs());
        let hello = Hello { version: VERSION, carrier: self.name().to_owned(), grace, received };
        let mut buffer = BytesMut::new();
        Frame { stream: 0, body: Body::Hello(hello) }.encode(&mut buffer);
        sink.send(buffer.freeze()).await.map_err(|error| Error::Broken(error.into()))
    }

    async fn serve<R, W, E, F>(
        &self,
        link: Link<R, W>,
        buffer: BytesMut,
        keepalive: Option<Keepalive>,
        unlink: CancellationToken,
    ) -> Result<(), Error>
    where
        R: futures::Stream<Item = Result<Bytes, E>> + Unpin,
        W: Sink<Bytes, Error = F> + Unpin,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Link { source, sink } = link;
        let (heard, hearing) = tokio::sync::watch::channel(());
        let both = async {
            tokio::try_join!(self.read(source, buffer, &heard), self.write(sink, keepalive, hearing)).map(|_| ())
        };
        tokio::select! {
            ended = both => ended,
            () = unlink.cancelled() => Err(Error::Replaced),
        }
    }

    async fn read<R, E>(
        &self,
        mut source: R,
        mut buffer: BytesMut,
        heard: &tokio::sync::watch::Sender<()>,
    ) -> Result<(), Error>
    where
        R: futures::Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        loop {
            while let Some(frame) = Frame::decode(&mut buffer)? {
                let opened = self.0.state().receive(&self.0, frame)?;
                if let Some(opened) = opened {
                    let _ = self.0.opened.send(opened); // With nobody who listens it is dropped, and so ends.
                }
            }
            self.0.changed.notify_one();
            self.0.heard.notify_waiters();
            more(&mut source, &mut buffer).await?;
            heard.send_replace(());
        }
    }

    async fn write<W, F>(
        &self,
        mut sink: W,
        keepalive: Option<Keepalive>,
        mut hearing: tokio::sync::watch::Receiver<()>,
    ) -> Result<(), Error>
    where
        W: Sink<Bytes, Error = F> + Unpin,
        F: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Far enough away where nobody pings.
        let period = keepalive.map_or(Duration::from_secs(3600), |keepalive| keepalive.ping);
        let mut ping = interval_at(Instant::now() + period, period);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        loop {
            let mut buffer = BytesMut::new();
            self.0.state().write(&mut buffer, BATCH);
            if !buffer.is_empty() {
                sink.send(buffer.freeze()).await.map_err(|error| Error::Broken(error.into()))?;
                continue;
            }
            tokio::select! {
                () = self.0.changed.notified() => {}
                _ = ping.tick(), if keepalive.is_some() => {
                    unanswered = if hearing.has_changed().unwrap_or(false) { 0 } else { unanswered + 1 };
                    hearing.mark_unchanged();
                    if keepalive.is_some_and(|keepalive| unanswered > keepalive.patience) {
                        return Err(Error::Silent);
                    }
                    let mut buffer = BytesMut::new();
                    Frame { stream: 0, body: Body::Ping }.encode(&mut buffer);
                    sink.send(buffer.freeze()).await.map_err(|error| Error::Broken(error.into()))?;
                }
            }
        }
    }
}

async fn read_hello<R, E>(source: &mut R, buffer: &mut BytesMut) -> Result<Hello, Error>
where
    R: futures::Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = async {
        loop {
            if let Some(frame) = Frame::decode(buffer)? {
                return match frame.body {
                    Body::Hello(hello) if hello.version == VERSION => Ok(hello),
                    Body::Hello(hello) => Err(Error::Version(hello.version)),
                    _ => Err(Error::Protocol("no hello")),
                };
            }
            more(source, buffer).await?;
        }
    };
    timeout(HELLO, read).await.map_err(|_| Error::Silent)?
}

async fn more<R, E>(source: &mut R, buffer: &mut BytesMut) -> Result<(), Error>
where
    R: futures::Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match source.next().await {
        Some(Ok(bytes)) => {
            buffer.extend_from_slice(&bytes);
            Ok(())
        }
        Some(Err(error)) => Err(Error::Broken(error.into())),
        None => Err(Error::Closed),
    }
}
