//! Serves a carrier over one pair of byte streams, for as long as that lasts.

use std::future::pending;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Sink, SinkExt, TryStream, TryStreamExt};
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::frame::{Body, COPIED_AT_ONCE, Frame, Hello, Pieces};
use super::pulse::{Pulse, Step};
use super::{Carrier, Error, VERSION};

/// Bytes that are written as one while there is more: few and large writes, for all that lies between takes its time
/// for each.
const BATCH: usize = 3 * COPIED_AT_ONCE;
/// What a side that said nothing yet may need to say hello, or to take one.
const HELLO: Duration = Duration::from_secs(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

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

impl Keepalive {
    /// Of the side that asks, while it lives: it pings regularly, and has given up before.
    fn longest_silence(&self) -> Duration {
        self.ping * (self.patience + 1) + HELLO
    }
}

/// How a side finds out that the other is gone.
enum Vigil {
    Asks(Keepalive),
    /// By a silence of that length, if the other has told what is none.
    IsAsked(Option<Duration>),
}

/// How a link does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkEvent {
    /// Both sides have agreed.
    Linked,
    /// Something should have been heard since then. It may yet be.
    Silent(Instant),
    /// It was.
    Heard,
}

/// The first frame from a side that wants to link to the carrier it names.
pub struct Accepted {
    hello: Hello,
    pieces: Pieces,
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
pub async fn accept<R>(source: &mut R) -> Result<Accepted, Error>
where
    R: TryStream<Ok = Bytes, Error: Into<BoxError>> + Unpin,
{
    let mut pieces = Pieces::default();
    let hello = read_hello(source, &mut pieces).await?;
    Ok(Accepted { hello, pieces })
}

impl Carrier {
    /// Links the carrier anew to the side that knows it, and serves until that breaks. Takes over from an older link.
    /// `news` is called with what happens.
    pub async fn link<R, W>(
        &self,
        mut link: Link<R, W>,
        keepalive: Keepalive,
        mut news: impl FnMut(LinkEvent) + Send,
    ) -> Result<(), Error>
    where
        R: TryStream<Ok = Bytes, Error: Into<BoxError>> + Unpin,
        W: Sink<Bytes, Error: Into<BoxError>> + Unpin,
    {
        let (unlink, _linked) = self.take_over().await;
        let mut pieces = Pieces::default();
        self.say_hello(&mut link.sink, Some(&keepalive)).await?;
        let hello = read_hello(&mut link.source, &mut pieces).await?;
        if hello.carrier != self.name() {
            return Err(Error::Forgotten);
        }
        self.0.state().agree(hello.window);
        self.0.state().relink(&hello.received)?;
        news(LinkEvent::Linked);
        self.serve(link, pieces, Vigil::Asks(keepalive), &mut news, unlink).await
    }

    /// The other end of [`Carrier::link`], after [`accept`].
    pub async fn accepted<R, W>(&self, mut link: Link<R, W>, accepted: Accepted) -> Result<(), Error>
    where
        R: TryStream<Ok = Bytes, Error: Into<BoxError>> + Unpin,
        W: Sink<Bytes, Error: Into<BoxError>> + Unpin,
    {
        if !self.0.state().is_newest(accepted.hello.link) {
            return Err(Error::Late);
        }
        let (unlink, _linked) = self.take_over().await;
        self.say_hello(&mut link.sink, None).await?;
        self.0.state().agree(accepted.hello.window);
        self.0.state().relink(&accepted.hello.received)?;
        let limit = accepted.hello.silence.map(Duration::from_secs);
        self.serve(link, accepted.pieces, Vigil::IsAsked(limit), &mut |_| {}, unlink).await
    }

    /// Ends the link in use, and waits until it took the last of what came.
    async fn take_over(&self) -> (CancellationToken, tokio::sync::MutexGuard<'_, ()>) {
        let ours = CancellationToken::new();
        std::mem::replace(&mut *self.0.unlink(), ours.clone()).cancel();
        (ours, self.0.linked.lock().await)
    }

    async fn say_hello<W>(&self, sink: &mut W, keepalive: Option<&Keepalive>) -> Result<(), Error>
    where
        W: Sink<Bytes, Error: Into<BoxError>> + Unpin,
    {
        let (link, received, window) = {
            let mut state = self.0.state();
            (keepalive.map(|_| state.number_link()), state.received(), Some(state.own_window()))
        };
        let grace = keepalive.map(|keepalive| keepalive.grace.as_secs());
        let silence = keepalive.map(|keepalive| keepalive.longest_silence().as_secs());
        let hello = Hello { version: VERSION, carrier: self.name().to_owned(), link, grace, silence, window, received };
        let mut buffer = BytesMut::new();
        Frame { stream: 0, body: Body::Hello(hello) }.encode(&mut buffer);
        // Whoever links next waits until this one is done.
        let said = timeout(HELLO, sink.send(buffer.freeze())).await.map_err(|_| Error::Silent)?;
        said.map_err(|error| Error::Broken(error.into()))
    }

    async fn serve<R, W>(
        &self,
        link: Link<R, W>,
        pieces: Pieces,
        vigil: Vigil,
        news: &mut (dyn FnMut(LinkEvent) + Send),
        unlink: CancellationToken,
    ) -> Result<(), Error>
    where
        R: TryStream<Ok = Bytes, Error: Into<BoxError>> + Unpin,
        W: Sink<Bytes, Error: Into<BoxError>> + Unpin,
    {
        let Link { source, sink } = link;
        let (heard, hearing) = watch::channel(());
        let (limit, pulse) = match vigil {
            Vigil::Asks(keepalive) => (None, Some(Pulse::new(keepalive, hearing.clone()))),
            Vigil::IsAsked(limit) => (limit, None),
        };
        let fallen_silent = fallen_silent(hearing, limit);
        let both =
            async { tokio::try_join!(self.read(source, pieces, &heard), self.write(sink, pulse, news)).map(|_| ()) };
        tokio::select! {
            ended = both => ended,
            () = unlink.cancelled() => Err(Error::Replaced),
            () = fallen_silent => Err(Error::Silent),
        }
    }

    async fn read<R>(&self, mut source: R, mut pieces: Pieces, heard: &watch::Sender<()>) -> Result<(), Error>
    where
        R: TryStream<Ok = Bytes, Error: Into<BoxError>> + Unpin,
    {
        loop {
            while let Some(frame) = pieces.next()? {
                let opened = self.0.state().receive(&self.0, frame)?;
                if let Some(opened) = opened {
                    self.0.hand_over(opened);
                }
                consume_budget().await; // A piece holds thousands of frames, and others wait.
            }
            self.0.changed.notify_one();
            self.0.heard.notify_waiters();
            pieces.add(more(&mut source).await?);
            heard.send_replace(());
        }
    }

    async fn write<W>(
        &self,
        mut sink: W,
        mut pulse: Option<Pulse>,
        news: &mut (dyn FnMut(LinkEvent) + Send),
    ) -> Result<(), Error>
    where
        W: Sink<Bytes, Error: Into<BoxError>> + Unpin,
    {
        let (mut buffer, mut owes_ping) = (BytesMut::new(), false);
        loop {
            if std::mem::take(&mut owes_ping) {
                Frame { stream: 0, body: Body::Ping }.encode(&mut buffer);
            }
            self.0.state().write(&mut buffer, BATCH);
            if !buffer.is_empty() {
                // While there is more, what does not fill the buffers on the way goes with that.
                let unfilled = if buffer.len() < BATCH { 0 } else { buffer.len() % COPIED_AT_ONCE };
                let batch = buffer.split_to(buffer.len() - unfilled).freeze();
                owes_ping = send(&mut sink, batch, &mut pulse, news).await?;
                continue;
            }
            buffer = BytesMut::new(); // Whoever says nothing needs no memory for it.
            tokio::select! {
                () = self.0.changed.notified() => {}
                step = next_step(&mut pulse) => owes_ping = tell(step, news)?,
            }
        }
    }
}

/// A node that is silent takes nothing after a while: that must not go unnoticed. Whether a ping fell due meanwhile.
async fn send<W>(
    sink: &mut W,
    bytes: Bytes,
    pulse: &mut Option<Pulse>,
    news: &mut (dyn FnMut(LinkEvent) + Send),
) -> Result<bool, Error>
where
    W: Sink<Bytes, Error: Into<BoxError>> + Unpin,
{
    if let Some(pulse) = pulse {
        pulse.wrote();
    }
    let (mut sent, mut owes_ping) = (sink.send(bytes), false);
    loop {
        tokio::select! {
            biased;
            sent = &mut sent => return sent.map(|()| owes_ping).map_err(|error| Error::Broken(error.into())),
            step = next_step(pulse) => owes_ping |= tell(step, news)?,
        }
    }
}

/// Never, for the side that does not ask. Cancel safe.
async fn next_step(pulse: &mut Option<Pulse>) -> Step {
    match pulse {
        Some(pulse) => pulse.step().await,
        None => pending().await,
    }
}

/// Whether a ping is to be sent.
fn tell(step: Step, news: &mut (dyn FnMut(LinkEvent) + Send)) -> Result<bool, Error> {
    match step {
        Step::Ping => return Ok(true),
        Step::Silent(since) => news(LinkEvent::Silent(since)),
        Step::Heard => news(LinkEvent::Heard),
        Step::Gone => return Err(Error::Silent),
    }
    Ok(false)
}

/// Returns when nothing has come for `limit`, or up to twice that; never without one.
async fn fallen_silent(mut hearing: watch::Receiver<()>, limit: Option<Duration>) {
    let Some(limit) = limit else { return pending().await };
    loop {
        sleep(limit).await;
        if !hearing.has_changed().unwrap_or(false) {
            return;
        }
        hearing.mark_unchanged();
    }
}

async fn read_hello<R>(source: &mut R, pieces: &mut Pieces) -> Result<Hello, Error>
where
    R: TryStream<Ok = Bytes, Error: Into<BoxError>> + Unpin,
{
    let read = async {
        loop {
            if let Some(frame) = pieces.next()? {
                return match frame.body {
                    Body::Hello(hello) if hello.version == VERSION => Ok(hello),
                    Body::Hello(hello) => Err(Error::Version(hello.version)),
                    _ => Err(Error::Protocol("no hello")),
                };
            }
            pieces.add(more(source).await?);
        }
    };
    timeout(HELLO, read).await.map_err(|_| Error::Silent)?
}

async fn more<R>(source: &mut R) -> Result<Bytes, Error>
where
    R: TryStream<Ok = Bytes, Error: Into<BoxError>> + Unpin,
{
    source.try_next().await.map_err(|error| Error::Broken(error.into()))?.ok_or(Error::Closed)
}
