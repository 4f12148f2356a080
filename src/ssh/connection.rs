//! One SSH connection: authenticates, and hands each session channel to a task of its own.
//!
//! russh calls these inside its session loop: they reply and spawn, and never wait for the network.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use russh::keys::{Certificate, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Session as Replies, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, info};

use super::context::Context;
use super::forward::{Forwarder, Listening};
use super::jump::{Destination, Jump};
use super::penalties::Offence;
use super::serve::{Client, Slots};
use super::session::{SFTP, Session, accepts_variable};
use super::throttle::Throttle;
use crate::identity::{Credential, Identity, Refusal};
use crate::telemetry::{LoginResult, metrics};
use crate::workspace::{Address, Target};

/// russh's view of one connection.
pub(super) struct Connection {
    context: Arc<Context>,
    throttle: Arc<Throttle>,
    began: Instant,
    address: SocketAddr,
    /// Where the client reached us.
    server: SocketAddr,
    /// The connection that this one is within.
    outer: Option<Outer>,
    /// Keys offered so far, and how many welcome ones were not followed by a good signature.
    offered: u32,
    unproven: u32,
    /// The last login name and why it was refused.
    refused: Option<(String, Refusal)>,
    login: Option<(Identity, Target)>,
    /// Cancelled once somebody is logged in.
    logged_in: CancellationToken,
    slots: Slots,
    /// Where the pod listens for the client, by what it asked for.
    listening: HashMap<Address, Listening>,
    /// Channels that run something; RFC 4254 §6.5 allows one program for each.
    started: HashSet<ChannelId>,
    span: Span,
}

/// Whose connection another one is within, and where that one leads.
#[derive(Clone)]
pub(super) struct Outer {
    pub(super) user: String,
    pub(super) target: Target,
    /// How many connections there are around it.
    pub(super) depth: usize,
}

/// How long a client that asks the pod to listen is kept waiting, and its other channels with it: russh wants the answer
/// at once, and the port may be the pod's choice.
const LISTEN: Duration = Duration::from_secs(30);
/// A signature that fails is not told to us, but a key that is welcome again and again without a login is.
const MAX_FAILED_SIGNATURES: u32 = 3;
/// Longer than any login name is, shorter than what a client may send.
const MAX_LOGGED_LOGIN: usize = 128;

impl Connection {
    pub(super) fn new(
        context: Arc<Context>,
        throttle: Arc<Throttle>,
        client: Client,
        logged_in: CancellationToken,
        slots: Slots,
    ) -> Self {
        Self {
            context,
            throttle,
            began: Instant::now(),
            address: client.address,
            server: client.server,
            outer: client.outer,
            offered: 0,
            unproven: 0,
            refused: None,
            login: None,
            logged_in,
            slots,
            listening: HashMap::new(),
            started: HashSet::new(),
            span: Span::current(),
        }
    }

    /// Who wants to log in, and where to. Within a connection that is settled: the name that ssh sends is the laptop's.
    fn asked<'a>(&'a self, user_name: &'a str) -> (&'a str, Target) {
        match &self.outer {
            Some(outer) => (&outer.user, outer.target.clone()),
            None => Target::parse(user_name),
        }
    }

    fn welcome(&mut self, user_name: &str, key: &PublicKey) -> Auth {
        let (login, _) = self.asked(user_name);
        let login = login.to_owned();
        let login = login.as_str();
        self.offered += 1;
        match self.context.authenticate.welcome(login, key, self.address.ip()) {
            Ok(()) if self.unproven < MAX_FAILED_SIGNATURES => {
                self.unproven += 1;
                Auth::Accept
            }
            Ok(()) => {
                debug!(login, "refused a key: too many were not followed by a good signature");
                Auth::reject()
            }
            Err(reason) => self.refuse(login, Credential::Key(key), reason),
        }
    }

    /// What the client proved to hold.
    fn log_in(&mut self, user_name: &str, credential: Credential<'_>) -> Auth {
        let (login, target) = self.asked(user_name);
        let login = login.to_owned();
        let login = login.as_str();
        self.unproven = self.unproven.saturating_sub(1);
        let identity = match self.context.authenticate.resolve(login, credential, self.address.ip()) {
            Ok(identity) => identity,
            Err(reason) => return self.refuse(login, credential, reason),
        };
        if self.outer.as_ref().is_some_and(|outer| outer.user != identity.user()) {
            return self.refuse(login, credential, Refusal::AnotherUser);
        }
        let (user, key) = (identity.user(), identity.fingerprint());
        info!(user, login, key, certificate = credential.certificate(), client = %self.address, "logged in");
        self.login = Some((identity, target));
        Auth::Accept
    }

    fn refuse(&mut self, login: &str, credential: Credential<'_>, reason: Refusal) -> Auth {
        let (key, certificate) = (credential.fingerprint(), credential.certificate());
        debug!(login, key, certificate, %reason, "refused a key");
        self.refused = Some((login.chars().take(MAX_LOGGED_LOGIN).collect(), reason));
        Auth::reject()
    }

    /// Whether whoever logged in may have a terminal.
    fn permits_pty(&self) -> bool {
        self.login.as_ref().is_some_and(|(identity, _)| identity.permissions().pty)
    }

    /// Forwards for whoever logged in.
    fn forwarder(&self) -> Option<Forwarder> {
        let (identity, target) = self.login.clone()?;
        let (context, throttle, slots) = (self.context.clone(), self.throttle.clone(), self.slots.forwards.clone());
        Some(Forwarder { context, throttle, identity, target, slots })
    }

    /// Serves a channel in a task of its own.
    fn spawn(&self, serve: impl Future<Output = ()> + Send + 'static) {
        self.context.tasks.spawn(serve.instrument(self.span.clone()));
    }

    /// Has the pod listen for the client; the port, if it does.
    async fn listen(&mut self, address: Address, client: Handle) -> Option<u16> {
        let forwarder = self.forwarder().filter(Forwarder::permitted)?;
        if self.listening.len() >= self.context.config.max_sessions {
            return None;
        }
        let listening = match timeout(LISTEN, Listening::begin(forwarder, address.clone(), client)).await {
            Ok(Ok(listening)) => listening,
            Ok(Err(error)) => {
                info!(error = &error as &dyn std::error::Error, ?address, "the pod does not listen");
                return None;
            }
            Err(_) => {
                info!(?address, "the pod was not ready in time to listen");
                return None;
            }
        };
        let port = listening.port;
        let asked = match address {
            Address::Tcp { host, .. } => Address::Tcp { host, port },
            address => address,
        };
        self.listening.insert(asked, listening);
        Some(port)
    }

    fn start(&mut self, channel: ChannelId, replies: &mut Replies) -> Result<(), russh::Error> {
        match self.started.insert(channel) {
            true => replies.channel_success(channel),
            false => replies.channel_failure(channel),
        }
    }
}

impl Drop for Connection {
    /// Tells how it went, if nobody logged in.
    fn drop(&mut self) {
        if self.login.is_some() {
            return;
        }
        let _in_connection = self.span.enter();
        let (login, reason) =
            self.refused.as_ref().map(|(login, reason)| (login, tracing::field::display(reason))).unzip();
        let keys = self.offered;
        let offence = if self.began.elapsed() >= self.context.config.login_grace_time {
            metrics().login(LoginResult::TimedOut);
            info!(login, keys, reason, "no login within login_grace_time");
            Offence::GraceExceeded
        } else if self.offered > 0 {
            metrics().login(LoginResult::Refused);
            info!(login, keys, reason, "left without a login");
            Offence::AuthFailed
        } else {
            // Scanners and load balancers' health checks.
            debug!("left without trying to log in");
            Offence::NoAuth
        };
        self.context.penalties.add(self.address.ip(), offence, Instant::now());
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
        Ok(self.welcome(user_name, offer.public_key))
    }

    async fn auth_publickey(&mut self, user_name: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.log_in(user_name, Credential::Key(key.public_key)))
    }

    async fn auth_openssh_certificate(
        &mut self,
        user_name: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        Ok(self.log_in(user_name, Credential::Certificate(certificate)))
    }

    async fn auth_succeeded(&mut self, _: &mut Replies) -> Result<(), Self::Error> {
        metrics().login(LoginResult::Accepted);
        metrics().login_duration.observe(self.began.elapsed().as_secs_f64());
        self.logged_in.cancel();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let Some(forwarder) = self.forwarder() else {
            return Ok(()); // Dropped, the handle refuses. russh asks of nobody who is not logged in.
        };
        let permit = self.slots.sessions.clone().try_acquire_owned();
        let session = Session { forwarder, client: replies.handle(), address: self.address, server: self.server };
        self.spawn(async move {
            match permit {
                Ok(_permit) => {
                    reply.accept().await;
                    session.run(channel).await;
                }
                Err(_) => reply.reject(ChannelOpenFailure::ResourceShortage).await,
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
        let (Some(forwarder), Ok(port)) = (self.forwarder(), u16::try_from(port)) else { return Ok(()) };
        let Forwarder { context, identity, target, .. } = &forwarder;
        let is_hers = |name: &str| context.run.has(identity, name);
        match Destination::of(host, port, identity.user(), target, is_hers) {
            Destination::Server(target) => {
                let depth = self.outer.as_ref().map_or(0, |outer| outer.depth);
                let jump = Jump { forwarder, target, address: self.address, server: self.server, depth };
                // Boxed: it holds a connection like this one.
                self.spawn(jump.serve(channel, reply).boxed());
            }
            Destination::Address(target, address) => {
                self.spawn(async move { forwarder.connect(&target, &address, channel, reply).await });
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
        if let Some(forwarder) = self.forwarder() {
            let (target, address) = (forwarder.target.clone(), Address::Unix(path.to_owned()));
            self.spawn(async move { forwarder.connect(&target, &address, channel, reply).await });
        }
        Ok(())
    }

    async fn tcpip_forward(&mut self, host: &str, port: &mut u32, replies: &mut Replies) -> Result<bool, Self::Error> {
        let Ok(asked) = u16::try_from(*port) else { return Ok(false) };
        let address = Address::Tcp { host: host.to_owned(), port: asked };
        let listening = self.listen(address, replies.handle()).await;
        if let Some(bound) = listening {
            *port = bound.into();
        }
        Ok(listening.is_some())
    }

    async fn cancel_tcpip_forward(&mut self, host: &str, port: u32, _: &mut Replies) -> Result<bool, Self::Error> {
        let Ok(port) = u16::try_from(port) else { return Ok(false) };
        Ok(self.listening.remove(&Address::Tcp { host: host.to_owned(), port }).is_some())
    }

    async fn streamlocal_forward(&mut self, path: &str, replies: &mut Replies) -> Result<bool, Self::Error> {
        Ok(self.listen(Address::Unix(path.to_owned()), replies.handle()).await.is_some())
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _: &mut Replies) -> Result<bool, Self::Error> {
        Ok(self.listening.remove(&Address::Unix(path.to_owned())).is_some())
    }

    async fn agent_request(&mut self, _: ChannelId, _: &mut Replies) -> Result<bool, Self::Error> {
        let permitted = self.login.as_ref().is_some_and(|(identity, _)| identity.permissions().agent_forwarding);
        Ok(permitted && self.context.config.allow_agent_forwarding)
    }

    #[allow(clippy::too_many_arguments, reason = "russh's signature")]
    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        match self.permits_pty() {
            true => replies.channel_success(channel),
            false => replies.channel_failure(channel),
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        match accepts_variable(name, value) {
            true => replies.channel_success(channel),
            false => replies.channel_failure(channel),
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, replies: &mut Replies) -> Result<(), Self::Error> {
        self.start(channel, replies)
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], replies: &mut Replies) -> Result<(), Self::Error> {
        self.start(channel, replies)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        match name {
            SFTP => self.start(channel, replies),
            _ => replies.channel_failure(channel),
        }
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        replies.channel_failure(channel)
    }
}
