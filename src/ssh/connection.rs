//! One SSH connection: authenticates, and hands each session channel to a task of its own.
//!
//! russh calls these inside its session loop: they reply and spawn, and never wait for the network.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use russh::keys::{Certificate, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session as Replies, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, info};

use super::context::Context;
use super::penalties::Offence;
use super::session::{SFTP, Session, accepts_variable};
use super::throttle::Throttle;
use crate::identity::{Credential, Identity, Refusal};
use crate::telemetry::{LoginResult, metrics};
use crate::workspace::Target;

/// russh's view of one connection.
pub(super) struct Connection {
    context: Arc<Context>,
    throttle: Arc<Throttle>,
    began: Instant,
    address: SocketAddr,
    /// Keys offered so far, and how many welcome ones were not followed by a good signature.
    offered: u32,
    unproven: u32,
    /// The last login name and why it was refused.
    refused: Option<(String, Refusal)>,
    login: Option<(Identity, Target)>,
    /// Cancelled once somebody is logged in.
    logged_in: CancellationToken,
    /// One permit for each session that may yet be opened.
    sessions: Arc<Semaphore>,
    /// Channels that run something; RFC 4254 §6.5 allows one program for each.
    started: HashSet<ChannelId>,
    span: Span,
}

/// A signature that fails is not told to us, but a key that is welcome again and again without a login is.
const MAX_FAILED_SIGNATURES: u32 = 3;
/// Longer than any login name is, shorter than what a client may send.
const MAX_LOGGED_LOGIN: usize = 128;

impl Connection {
    pub(super) fn new(
        context: Arc<Context>,
        throttle: Arc<Throttle>,
        address: SocketAddr,
        logged_in: CancellationToken,
        sessions: Arc<Semaphore>,
    ) -> Self {
        Self {
            context,
            throttle,
            began: Instant::now(),
            address,
            offered: 0,
            unproven: 0,
            refused: None,
            login: None,
            logged_in,
            sessions,
            started: HashSet::new(),
            span: Span::current(),
        }
    }

    fn welcome(&mut self, user_name: &str, key: &PublicKey) -> Auth {
        let (login, _) = Target::parse(user_name);
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
        let (login, target) = Target::parse(user_name);
        self.unproven = self.unproven.saturating_sub(1);
        let identity = match self.context.authenticate.resolve(login, credential, self.address.ip()) {
            Ok(identity) => identity,
            Err(reason) => return self.refuse(login, credential, reason),
        };
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
        _: &mut Replies,
    ) -> Result<(), Self::Error> {
        let Some((identity, target)) = self.login.clone() else {
            return Ok(()); // Dropped, the handle refuses. russh asks of nobody who is not logged in.
        };
        let permit = self.sessions.clone().try_acquire_owned();
        let session = Session { context: self.context.clone(), throttle: self.throttle.clone(), identity, target };
        let serve = async move {
            match permit {
                Ok(_permit) => {
                    reply.accept().await;
                    session.run(channel).await;
                }
                Err(_) => reply.reject(ChannelOpenFailure::ResourceShortage).await,
            }
        };
        self.context.tasks.spawn(serve.instrument(self.span.clone()));
        Ok(())
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
