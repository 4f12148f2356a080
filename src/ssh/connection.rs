//! One SSH connection: hands each channel to a task of its own.
//!
//! russh calls these inside its session loop: they reply and spawn, and never wait for the network. Only a login may wait
//! a moment for keys: nothing else happens on its connection yet.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use russh::keys::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Session as Replies, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, info};

use super::allowance::Allowance;
use super::client::{Client, Slots};
use super::context::Context;
use super::destination::Destination;
use super::forward::{self, Asked, Listeners};
use super::jump::Jump;
use super::logged_in::LoggedIn;
use super::login::{Login, Proven};
use super::request::{Request, SFTP, terminal_size};
use super::session::Session;
use super::standing::Standing;
use super::throttle::Throttle;
use crate::identity::{Credential, Permissions};
use crate::telemetry::{LoginResult, metrics};
use crate::workspace::{Address, Program, Target};

/// The longest name of a host, and longer than the path of any socket, in bytes. A client may send a thousand times as
/// many, which would be kept for as long as what it names.
const MAX_NAME: usize = 255;

/// russh's view of one connection.
pub(super) struct Connection {
    context: Arc<Context>,
    throttle: Arc<Throttle>,
    client: Client,
    login: Login,
    /// Cancelled once somebody is logged in.
    login_done: CancellationToken,
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
    span: Span,
}

impl Connection {
    pub(super) fn new(
        context: Arc<Context>,
        throttle: Arc<Throttle>,
        client: Client,
        login_done: CancellationToken,
        slots: Slots,
        standing: Standing,
    ) -> Self {
        Self {
            login: Login::new(context.clone(), client.clone()),
            context,
            throttle,
            client,
            login_done,
            slots,
            allowance: None,
            place: None,
            listeners: Listeners::default(),
            requests: HashMap::new(),
            standing,
            watching: None,
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
        let (allowance, standing) = (self.allowance.clone()?, self.standing.clone());
        Some(LoggedIn { context, throttle, identity, target, slots, allowance, standing })
    }

    /// Counts the connection among those of whoever logged in; why not, if she has too many. One within another has been
    /// counted when it began.
    fn take_place(&mut self) -> Result<(), String> {
        let Some((identity, _)) = self.login.succeeded() else { return Ok(()) };
        let allowance = self.context.allowances.of(identity.user());
        self.throttle.belong(allowance.rooms.clone());
        if self.client.outer.is_none() {
            let Ok(place) = allowance.connections.clone().try_acquire_owned() else {
                info!(user = identity.user(), "ended a connection: this user has max_connections_per_user of them");
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
        let logged_in = self.logged_in().filter(|logged_in| logged_in.admits(Asked::Listen(&address)))?;
        self.listeners.begin(logged_in, address, client).await
    }

    fn begin(&mut self, channel: ChannelId, program: Program, replies: &mut Replies) -> Result<(), russh::Error> {
        let request = self.requests.remove(&channel);
        let begun = request.zip(self.permissions()).map(|(request, permissions)| request.begin(program, permissions));
        Self::answer(channel, begun.is_some(), replies)
    }

    fn answer(channel: ChannelId, granted: bool, replies: &mut Replies) -> Result<(), russh::Error> {
        match granted {
            true => replies.channel_success(channel),
            false => replies.channel_failure(channel),
        }
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.context.config.banner.clone())
    }

    async fn auth_publickey_offered(
        &mut self,
        user_name: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        if self.login.is_exhausted() {
            return Err(russh::Error::Disconnect);
        }
        Ok(self.login.welcome(user_name, offer.public_key).await)
    }

    async fn auth_publickey(&mut self, user_name: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.login.prove(user_name, Credential::Key(key.public_key)).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user_name: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        Ok(self.login.prove(user_name, Credential::Certificate(certificate)).await)
    }

    async fn auth_succeeded(&mut self, replies: &mut Replies) -> Result<(), Self::Error> {
        if let Err(why) = self.take_place() {
            metrics().login(LoginResult::Throttled);
            return replies.disconnect(Disconnect::TooManyConnections, &why, "en");
        }
        self.login.count();
        self.watching = self.watch().map(|watch| AbortOnDropHandle::new(tokio::spawn(watch)));
        self.login_done.cancel();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let Some(logged_in) = self.logged_in() else {
            return Ok(()); // Dropped, the handle refuses, as prohibited. russh asks of nobody who is not logged in.
        };
        let slot = logged_in.session_slot();
        let (begin, command) = oneshot::channel();
        if slot.is_some() {
            let request = Request::new(logged_in.identity.permissions(), &self.context.config, begin);
            self.requests.insert(channel.id(), request);
        }
        let Client { address, server, .. } = self.client;
        let session = Session { logged_in, client: replies.handle(), address, server };
        self.spawn(async move {
            match slot {
                Some(_slot) => {
                    reply.accept().await;
                    session.run(channel, command).await;
                }
                None => {
                    info!("refused a session: its user or connection has too many channels open");
                    reply.reject(ChannelOpenFailure::ResourceShortage).await;
                }
            }
        });
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Replies,
    ) -> Result<(), Self::Error> {
        let (Some(logged_in), Ok(port)) = (self.logged_in(), u16::try_from(port)) else { return Ok(()) };
        if host.len() > MAX_NAME || !logged_in.admits(Asked::Connect(&Address::Tcp { host: host.to_owned(), port })) {
            return Ok(());
        }
        let LoggedIn { context, identity, target, .. } = &logged_in;
        let is_hers = |target: &Target| context.run.has(identity, target);
        match Destination::of(host, port, identity.user(), target, is_hers) {
            Destination::Server(target) => {
                let jump = Jump { logged_in, target, client: self.client.clone() };
                // Boxed: it holds a connection like this one.
                self.spawn(jump.serve(channel, reply).boxed());
            }
            Destination::Address(target, address) => {
                self.spawn(async move { logged_in.connect(&target, &address, channel, reply).await });
            }
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Replies,
    ) -> Result<(), Self::Error> {
        if path.len() > MAX_NAME {
            return Ok(());
        }
        let address = Address::Unix(path.to_owned());
        if let Some(logged_in) = self.logged_in().filter(|logged_in| logged_in.admits(Asked::Connect(&address))) {
            let target = logged_in.target.clone();
            self.spawn(async move { logged_in.connect(&target, &address, channel, reply).await });
        }
        Ok(())
    }

    async fn tcpip_forward(&mut self, host: &str, port: &mut u32, replies: &mut Replies) -> Result<bool, Self::Error> {
        let Some(asked) = u16::try_from(*port).ok().filter(|_| host.len() <= MAX_NAME) else { return Ok(false) };
        let address = Address::Tcp { host: host.to_owned(), port: asked };
        let listening = self.listen(address, replies.handle()).await;
        if let Some(bound) = listening {
            *port = bound.into();
        }
        Ok(listening.is_some())
    }

    async fn cancel_tcpip_forward(&mut self, host: &str, port: u32, _: &mut Replies) -> Result<bool, Self::Error> {
        let Ok(port) = u16::try_from(port) else { return Ok(false) };
        Ok(self.listeners.end(&Address::Tcp { host: host.to_owned(), port }))
    }

    async fn streamlocal_forward(&mut self, path: &str, replies: &mut Replies) -> Result<bool, Self::Error> {
        Ok(path.len() <= MAX_NAME && self.listen(Address::Unix(path.to_owned()), replies.handle()).await.is_some())
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _: &mut Replies) -> Result<bool, Self::Error> {
        Ok(self.listeners.end(&Address::Unix(path.to_owned())))
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Replies) -> Result<(), Self::Error> {
        self.requests.remove(&channel);
        Ok(())
    }

    async fn agent_request(&mut self, channel: ChannelId, _: &mut Replies) -> Result<bool, Self::Error> {
        let logged_in = self.logged_in();
        let Some(request) = self.requests.get_mut(&channel) else { return Ok(false) };
        request.ssh_agent = logged_in.is_some_and(|logged_in| logged_in.admits_ssh_agent());
        Ok(request.ssh_agent)
    }

    #[allow(clippy::too_many_arguments, reason = "russh's signature")]
    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        modes: &[(Pty, u32)],
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let permitted = self.permissions().is_some_and(|permissions| permissions.pty);
        let request = self.requests.get_mut(&channel).filter(|_| permitted);
        let set = request.map(|request| request.set_terminal(term, terminal_size(columns, rows), modes));
        Self::answer(channel, set.is_some(), replies)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &mut Replies,
    ) -> Result<(), Self::Error> {
        // Later ones are the session's part.
        if let Some(request) = self.requests.get_mut(&channel) {
            request.resize(terminal_size(columns, rows));
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let accept = &self.context.config.accept_env;
        let request = self.requests.get_mut(&channel);
        Self::answer(channel, request.is_some_and(|request| request.set_variable(accept, name, value)), replies)
    }

    async fn shell_request(&mut self, channel: ChannelId, replies: &mut Replies) -> Result<(), Self::Error> {
        self.begin(channel, Program::Shell, replies)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        self.begin(channel, Program::Command(line.to_vec()), replies)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        match name {
            SFTP => self.begin(channel, Program::Sftp, replies),
            _ => replies.channel_failure(channel),
        }
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        single_connection: bool,
        protocol: &str,
        cookie: &str,
        screen: u32,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let permitted = self.logged_in().is_some_and(|logged_in| logged_in.admits_x11());
        let display = forward::x11(single_connection, protocol, cookie, screen).filter(|_| permitted);
        let request = self.requests.get_mut(&channel);
        let granted = request.is_some_and(|request| {
            request.x11 = display;
            request.x11.is_some()
        });
        Self::answer(channel, granted, replies)
    }
}
