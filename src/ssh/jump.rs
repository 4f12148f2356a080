//! `ssh -J alice@bastion mydev`: what the client takes for the sshd of her DevServer is a server over a channel of her
//! connection to the bastion. There she proves once more who she is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info, info_span, warn};

use super::client::{Client, Outer};
use super::destination::DOMAIN;
use super::events::Events;
use super::forward::receive;
use super::host_key::HostKeys;
use super::inbox::Inbox;
use super::logged_in::LoggedIn;
use super::serve;
use super::transport::Peer;
use crate::telemetry::chain;
use crate::workspace::Target;

/// Servers within servers.
const MAX_DEPTH: usize = 4;

/// A connection within a connection, which is admitted.
pub(super) struct Jump {
    pub(super) logged_in: LoggedIn,
    pub(super) target: Target,
    /// Of the connection that it is within.
    pub(super) client: Client,
}

impl Jump {
    pub(super) async fn serve(self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        let Self { logged_in, target, client } = self;
        let depth = client.outer.as_ref().map_or(0, |outer| outer.depth);
        if depth >= MAX_DEPTH {
            info!(user = logged_in.identity.user(), depth, "refused a jump: it is within too many others");
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
        // It is one more connection of hers, from its beginning: what nobody speaks on costs as much as what is logged
        // in.
        let place = logged_in.allowance.connections.clone().try_acquire_owned();
        let (Some(_slot), Ok(_place)) = (logged_in.slot(), place) else {
            info!(
                user = logged_in.identity.user(),
                "refused a jump: its user has too many connections or channels open"
            );
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        };
        let (context, user) = (logged_in.context.clone(), logged_in.identity.user().to_owned());
        let devserver = context.run.devserver(&target);
        // Another's is known by its owner's name alone, but it is the same server.
        let names = match &target {
            Target::Shared { owner, .. } => vec![format!("{devserver}.{owner}"), "localhost".to_owned()],
            _ => vec![
                devserver.clone(),
                format!("{devserver}.{user}"),
                "localhost".to_owned(),
                format!("{devserver}{DOMAIN}"),
                format!("{devserver}{DOMAIN}.{user}"),
            ],
        };
        let owner = match &target {
            Target::Shared { owner, .. } => owner,
            _ => &user,
        };
        let host_keys = match context.authority.host_key(owner, &devserver, &names) {
            Ok((key, certificate)) => HostKeys { keys: vec![key], certificates: vec![certificate] },
            Err(error) => {
                warn!(error = chain(&error), "failed to make a DevServer's host key");
                return reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        };
        reply.accept().await;
        let (stream, half, _receiving) = ChannelStream::new(channel, logged_in.inbox());
        let Events { closed, overflowed: cut, .. } = &*stream.events;
        let (closed, cut) = (closed.clone(), cut.clone());
        let outer = Outer { user, target, depth: depth + 1, standing: logged_in.standing.clone() };
        let client = Client { outer: Some(outer), ..client };
        info!(devserver, "jumped to a DevServer");
        let connection = serve::connection(context, host_keys, stream, client, None, cut);
        connection.instrument(info_span!("jump", devserver)).await;
        // Whatever ended the inner connection: its client may wait for this.
        logged_in.slots.closing.close(&half, &closed, false).await;
        closed.cancel();
    }
}

/// A channel as a byte stream. What comes is taken at once, whether it is read or not.
struct ChannelStream {
    source: StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>,
    sink: Pin<Box<dyn AsyncWrite + Send>>,
    events: Arc<Events>,
}

impl ChannelStream {
    fn new(channel: Channel<Msg>, inbox: Inbox) -> (Self, ChannelWriteHalf<Msg>, AbortOnDropHandle<()>) {
        let (reader, half) = channel.split();
        // A stream with a gap leads nowhere, nor does one whose other end is closed.
        let closed = CancellationToken::new();
        let events = Arc::new(Events { overflowed: closed.child_token(), closed, ..Events::default() });
        let inbox = Arc::new(inbox);
        let receiving = receive(reader, inbox.clone(), events.clone());
        let receiving = AbortOnDropHandle::new(tokio::spawn(receiving.in_current_span()));
        let source =
            stream::try_unfold(inbox, async |inbox: Arc<Inbox>| Ok(inbox.take().await?.map(|data| (data, inbox))));
        let stream = Self { source: StreamReader::new(Box::pin(source)), sink: Box::pin(half.make_writer()), events };
        (stream, half, receiving)
    }
}

impl Peer for ChannelStream {
    fn hung_up(&self) -> io::Result<bool> {
        Ok(self.events.closed.is_cancelled())
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.source).poll_read(cx, buf)
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.sink.as_mut().poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.sink.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.sink.as_mut().poll_shutdown(cx)
    }
}
