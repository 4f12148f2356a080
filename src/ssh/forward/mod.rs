//! Forwarded connections (RFC 4254 §7; OpenSSH PROTOCOL §2.4): channels copied to and from connections in the pod.

mod accept;
mod connect;
mod listeners;
mod listening;
mod policy;
mod x11;

pub(super) use accept::{serve_ssh_agent, serve_x11};
pub(super) use listeners::Listeners;
use listening::{Listening, State};
pub(super) use policy::Asked;
pub(super) use x11::x11;

use std::sync::Arc;
use std::time::Duration;

use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug};

use super::client::Slot;
use super::events::Events;
use super::inbox::Inbox;
use super::logged_in::LoggedIn;
use super::writer::{Closed, End, Writer};
use crate::carrier::{self, Message, Receiver, Stream};
use crate::telemetry::metrics;

/// What a client sent before it closed is given so long to reach whoever should read it.
const LINGER: Duration = Duration::from_secs(60);

/// Copies both ways, each to its own end, until both are done, either side is gone, or `leave` says that she may not
/// stay.
async fn copy(
    channel: Channel<Msg>,
    stream: Stream,
    logged_in: &LoggedIn,
    slot: Slot,
    leave: impl Future<Output = ()>,
) {
    let (reader, half) = channel.split();
    let (events, inbox) = (Arc::new(Events::default()), Arc::new(logged_in.inbox()));
    let receive = receive(reader, inbox.clone(), events.clone());
    let _receive = AbortOnDropHandle::new(tokio::spawn(receive.in_current_span()));
    let writer = Writer::new(half, events.clone(), End::Pipes);
    let Stream { sender, receiver } = stream;
    let both = async { tokio::try_join!(up(&inbox, &sender), down(receiver, &writer)) };
    let closed_long_ago = async {
        events.closed.cancelled().await;
        sleep(LINGER).await;
    };
    let both_ended = tokio::select! {
        ended = both => ended.is_ok(),
        () = closed_long_ago => false,
        () = events.overflowed.cancelled() => false,
        () = leave => false,
    };
    drop((sender, slot));
    logged_in.slots.closing.close(&writer.half, &events.closed, both_ended).await;
    events.closed.cancel();
}

/// Takes what the client sends until it closes, which has to be heard of whatever else happens. Never waits for the
/// pod.
pub(super) async fn receive(mut reader: ChannelReadHalf, inbox: Arc<Inbox>, events: Arc<Events>) {
    loop {
        match reader.wait().await {
            Some(ChannelMsg::Data { data }) => events.keep(data, &inbox).await,
            Some(ChannelMsg::Eof) => inbox.put_eof(),
            Some(ChannelMsg::Close) | None => {
                inbox.put_eof();
                return events.closed.cancel();
            }
            Some(other) => debug!(?other, "ignored on a forwarded connection"),
        }
    }
}

async fn up(inbox: &Inbox, sender: &carrier::Sender) -> Result<(), Closed> {
    while let Some(data) = inbox.take().await.map_err(|_| Closed)? {
        metrics().bytes_in.inc_by(data.len() as u64);
        sender.data(data).await.map_err(|_| Closed)?;
    }
    sender.send(Message::Eof).map_err(|_| Closed)
}

/// Fails once the pod's side has ended everything. A client that closed only reads no more.
async fn down(mut receiver: Receiver, writer: &Writer) -> Result<(), Closed> {
    loop {
        let received = tokio::select! {
            received = receiver.receive() => received,
            () = writer.events.closed.cancelled() => return Ok(()),
        };
        match received.ok_or(Closed)? {
            (Message::Data(data), _credit) => {
                metrics().bytes_out.inc_by(data.len() as u64);
                if writer.stdout(data).await.is_err() {
                    return Ok(());
                }
            }
            (Message::Eof, _) => return writer.half.eof().await.map_err(|_| Closed),
            _ => {}
        }
    }
}
