//! One SSH connection: who logged in, and what runs on it.

mod handler;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use russh::ChannelId;
use russh::server::{Handle, Session as Replies};
use tokio::sync::{OwnedSemaphorePermit, SetOnce};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, info};

use super::allowance::Allowance;
use super::client::{Client, Slots};
use super::context::Context;
use super::forward::{Asked, Listeners};
use super::logged_in::LoggedIn;
use super::login::{Login, Proven};
use super::request::Request;
use super::room::InMemory;
use super::standing::Standing;
use super::throttle::Throttle;
use crate::identity::Permissions;
use crate::workspace::{Address, Program};

/// A command line that is let in whatever else waits, in bytes.
const SHORT_LINE: usize = 4096;

/// russh's view of one connection.
pub(super) struct Connection {
    context: Arc<Context>,
    throttle: Arc<Throttle>,
    client: Client,
    login: Login,
    /// Who is logged in, once somebody is.
    user: Arc<SetOnce<String>>,
    slots: Slots,
    /// What whoever logged in may have in all, and this connection's place in it.
    allowance: Option<Arc<Allowance>>,
    place: Option<OwnedSemaphorePermit>,
    listeners: Listeners,
    /// Those of session channels that run nothing yet.
    requests: HashMap<ChannelId, Request>,
    standing: Standing,
    /// Ends the standing.
    watching: Option<AbortOnDropHandle<()>>,
    /// Cancelled once it is over.
    over: CancellationToken,
    span: Span,
}

impl Connection {
    pub(super) fn new(
        context: Arc<Context>,
        throttle: Arc<Throttle>,
        client: Client,
        user: Arc<SetOnce<String>>,
        slots: Slots,
        standing: Standing,
        over: CancellationToken,
    ) -> Self {
        Self {
            login: Login::new(context.clone(), client.clone()),
            context,
            throttle,
            client,
            user,
            slots,
            allowance: None,
            place: None,
            listeners: Listeners::default(),
            requests: HashMap::new(),
            standing,
            watching: None,
            over,
            span: Span::current(),
        }
    }

    /// What whoever logged in may do.
    fn permissions(&self) -> Option<&Permissions> {
        self.login.succeeded().map(|(identity, _)| identity.permissions())
    }

    /// Whoever logged in, while she may stay.
    fn logged_in(&self) -> Option<LoggedIn> {
        let (identity, target) = self.login.succeeded().filter(|_| self.standing.holds()).cloned()?;
        let (context, throttle, slots) = (self.context.clone(), self.throttle.clone(), self.slots.clone());
        let (allowance, standing, over) = (self.allowance.clone()?, self.standing.clone(), self.over.clone());
        Some(LoggedIn { context, throttle, identity, target, slots, allowance, standing, over })
    }

    /// What a client named, if it can be one; if not, the log tells so.
    fn sound(&self, address: Option<Address>) -> Option<Address> {
        if address.is_none() {
            let user = self.user.get();
            self.tell(|| info!(user, "refused to forward connections: no name is so long, or no port so high"));
        }
        address
    }

    /// Whether she may have a terminal; if not, the log tells so.
    fn admits_terminal(&self) -> bool {
        let permitted = self.permissions().is_some_and(|permissions| permissions.pty);
        if !permitted {
            let (user, by) = (self.user.get(), "options of the key or certificate");
            self.tell(|| info!(user, by, "refused a terminal"));
        }
        permitted
    }

    /// Whoever logged in, if she may have this forwarded; if not, the log tells why.
    fn admitted(&self, asked: Asked<'_>) -> Option<LoggedIn> {
        self.tell(|| self.logged_in().filter(|logged_in| logged_in.admits(asked)))
    }

    /// What is logged meanwhile is of this connection: russh calls in a task of its own.
    fn tell<T>(&self, tell: impl FnOnce() -> T) -> T {
        self.span.in_scope(tell)
    }

    /// Counts the connection among those of whoever logged in; why not, if she has too many. One within another has
    /// been counted when it began.
    fn take_place(&mut self) -> Result<(), String> {
        let Some((identity, _)) = self.login.succeeded() else { return Ok(()) };
        let allowance = self.context.allowances.of(identity.user());
        self.throttle.belong(allowance.rooms.clone());
        if self.client.outer.is_none() {
            let Ok(place) = allowance.connections.clone().try_acquire_owned() else {
                self.tell(|| {
                    info!(user = identity.user(), "ended a connection: this user has max_connections_per_user of them");
                });
                let most = self.context.config.max_connections_per_user;
                return Err(format!("too many connections: you have {most} open already"));
            };
            self.place = Some(place);
        }
        self.allowance = Some(allowance);
        Ok(())
    }

    /// Whoever logged in stays for as long as she would be let in, to where she went.
    fn watch(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let (identity, target) = self.login.succeeded()?.clone();
        let Proven { login, credential } = self.login.proven()?.clone();
        let (context, standing) = (self.context.clone(), self.standing.clone());
        let (from, outer) = (self.client.address.ip(), self.client.outer.clone());
        Some(async move {
            let without = async {
                match outer {
                    Some(outer) => outer.standing.ended().await.to_owned(),
                    None => std::future::pending().await,
                }
            };
            let why = tokio::select! {
                why = context.authenticate.lapse(&login, &credential, from, &identity) => why,
                why = context.run.withdrawn(&identity, &target) => why,
                why = without => why,
            };
            standing.end(why);
        })
    }

    /// Serves a channel in a task of its own.
    fn spawn(&self, serve: impl Future<Output = ()> + Send + 'static) {
        self.context.tasks.spawn(serve.instrument(self.span.clone()));
    }

    /// Has the pod listen for the client, if she may; the port, if it does.
    async fn listen(&mut self, address: Address, client: Handle) -> Option<u16> {
        let logged_in = self.admitted(Asked::Listen(&address))?;
        self.listeners.begin(logged_in, address, client).instrument(self.span.clone()).await
    }

    fn begin(&mut self, channel: ChannelId, program: Program, replies: &mut Replies) -> Result<(), russh::Error> {
        let request = self.requests.remove(&channel);
        let begun = request.zip(self.permissions()).map(|(request, permissions)| request.begin(program, permissions));
        Self::answer(channel, begun.is_some(), replies)
    }

    /// A command line, for as long as its session lasts. The length of one that is not short counts as input that waits
    /// does: there may be as many as a user may have sessions.
    fn keep(&self, line: &[u8]) -> Option<Bytes> {
        if line.len() <= SHORT_LINE {
            return Some(Bytes::copy_from_slice(line));
        }
        let kept = InMemory::copy(line, &self.allowance.as_ref()?.rooms.memory);
        if kept.is_none() {
            info!(length = line.len(), "a command was refused: its user's part of ssh.spool_memory_mib is full");
        }
        Some(Bytes::from_owner(kept?))
    }

    fn answer(channel: ChannelId, granted: bool, replies: &mut Replies) -> Result<(), russh::Error> {
        match granted {
            true => replies.channel_success(channel),
            false => replies.channel_failure(channel),
        }
    }
}
