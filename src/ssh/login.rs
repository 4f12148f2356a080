//! Who is at the other end of a connection: the keys that a client offers, what it proves, and what is told of it.

use std::sync::Arc;

use russh::keys::{Algorithm, PublicKey};
use russh::server::Auth;
use tokio::time::Instant;
use tracing::{Span, debug, info};

use super::client::Client;
use super::context::Context;
use super::penalties::Offence;
use crate::identity::{Credential, Identity, OwnedCredential, Refusal};
use crate::telemetry::{LoginResult, metrics};
use crate::workspace::Target;

/// The authentication of one connection (RFC 4252).
pub(super) struct Login {
    context: Arc<Context>,
    client: Client,
    began: Instant,
    /// Keys offered so far, and how many welcome ones were not followed by a good signature.
    offered: u32,
    unproven: u32,
    /// The login name that was asked for before any key was offered.
    named: Option<String>,
    /// What was welcome last and is not proven: the login name and the key.
    welcomed: Option<(String, String)>,
    /// The last login name and why it was refused.
    refused: Option<(String, String)>,
    succeeded: Option<(Identity, Target)>,
    proven: Option<Proven>,
    span: Span,
}

/// What somebody logged in with.
#[derive(Clone)]
pub(super) struct Proven {
    pub(super) login: String,
    pub(super) credential: OwnedCredential,
}

/// A signature that fails is not told to us, but a key that is welcome again and again without a login is.
const MAX_FAILED_SIGNATURES: u32 = 3;
/// Longer than any login name is, shorter than what a client may send.
const MAX_LOGGED_LOGIN: usize = 128;

/// Why there is nothing else to tell: of a certificate that russh refuses by itself it tells nobody.
const NOTHING_OFFERED: &str =
    "no key was offered, or a certificate that has expired, is not valid yet, is badly signed or of an unknown kind";
const UNPROVEN: &str = "it was welcome, but no good signature followed";

impl Login {
    pub(super) fn new(context: Arc<Context>, client: Client) -> Self {
        Self {
            context,
            client,
            began: Instant::now(),
            offered: 0,
            unproven: 0,
            named: None,
            welcomed: None,
            refused: None,
            succeeded: None,
            proven: None,
            span: Span::current(),
        }
    }

    /// Whoever logged in, and where to.
    pub(super) fn succeeded(&self) -> Option<&(Identity, Target)> {
        self.succeeded.as_ref()
    }

    /// What she logged in with.
    pub(super) fn proven(&self) -> Option<&Proven> {
        self.proven.as_ref()
    }

    /// Counts a login that succeeded.
    pub(super) fn count(&self) {
        metrics().login(LoginResult::Accepted);
        metrics().login_duration.observe(self.began.elapsed().as_secs_f64());
    }

    /// Takes the login name that most clients send before they offer a key.
    pub(super) fn name(&mut self, user_name: &str) {
        self.named = Some(logged(&self.asked(user_name).0));
    }

    /// Whether the client should prove with `algorithm` to hold `key`. russh asks this before it looks at any
    /// signature, and counts only one of that algorithm.
    pub(super) async fn welcome(&mut self, user_name: &str, key: &PublicKey, algorithm: &Algorithm) -> Auth {
        let (login, _) = self.asked(user_name);
        self.offered += 1;
        let offer = (logged(&login), Credential::Key(key).fingerprint());
        if self.welcomed.as_ref() != Some(&offer) {
            self.tell_unproven();
        }
        // Said to be no choice (`server-sig-algs`), but not every client listens, and russh knows it still.
        if matches!(algorithm, Algorithm::Rsa { hash: None }) {
            return self.refuse(&login, Credential::Key(key), Refusal::Sha1);
        }
        let (authenticate, from) = (self.context.authenticate.clone(), self.client.address.ip());
        match self.ask(&login, || authenticate.welcome(&login, key, from)).await {
            Ok(()) => {
                self.unproven += 1;
                self.welcomed = Some(offer);
                Auth::Accept
            }
            Err(reason) => self.refuse(&login, Credential::Key(key), reason),
        }
    }

    /// Whether the client has had its tries.
    pub(super) fn is_exhausted(&mut self) -> bool {
        let exhausted = self.unproven >= MAX_FAILED_SIGNATURES;
        if exhausted {
            self.tell_unproven();
            let _in_connection = self.span.enter();
            info!(signatures = self.unproven, "ended a connection: welcome keys were not followed by good signatures");
        }
        exhausted
    }

    /// Tells of the key that was welcome last, if it was not proven since.
    fn tell_unproven(&mut self) {
        let Some((login, key)) = self.welcomed.take() else { return };
        let _in_connection = self.span.enter();
        info!(login, key, reason = UNPROVEN, "refused a key");
        self.refused = Some((login, UNPROVEN.to_owned()));
    }

    /// Takes what the client proved to hold.
    pub(super) async fn prove(&mut self, user_name: &str, credential: Credential<'_>) -> Auth {
        let (login, target) = self.asked(user_name);
        let Client { address, outer, .. } = self.client.clone();
        self.unproven = self.unproven.saturating_sub(1);
        self.welcomed = None;
        let authenticate = self.context.authenticate.clone();
        let identity = match self.ask(&login, || authenticate.resolve(&login, credential, address.ip())).await {
            Ok(identity) => identity,
            Err(reason) => return self.refuse(&login, credential, reason),
        };
        if outer.as_ref().is_some_and(|outer| outer.user != identity.user()) {
            return self.refuse(&login, credential, Refusal::AnotherUser);
        }
        let (user, key) = (identity.user(), identity.fingerprint());
        info!(user, login, key, certificate = credential.certificate(), client = %address, "logged in");
        let target = target.meant_by(identity.user());
        self.succeeded = Some((identity, target));
        self.proven = Some(Proven { login, credential: credential.to_owned() });
        Auth::Accept
    }

    /// What `ask` answers; where that is that the key is not known, once more if it may be by now.
    async fn ask<T>(&self, login: &str, ask: impl Fn() -> Result<T, Refusal>) -> Result<T, Refusal> {
        match ask() {
            Err(Refusal::Unknown) if self.context.authenticate.learn(login).await => ask(),
            answer => answer,
        }
    }

    /// Who wants to log in, and where to. Within a connection that is settled: the name that ssh sends is the laptop's.
    fn asked(&self, user_name: &str) -> (String, Target) {
        match &self.client.outer {
            Some(outer) => (outer.user.clone(), outer.target.clone()),
            None => {
                let (login, target) = Target::parse(user_name);
                (login.to_owned(), target)
            }
        }
    }

    fn refuse(&mut self, login: &str, credential: Credential<'_>, reason: Refusal) -> Auth {
        let (key, certificate) = (credential.fingerprint(), credential.certificate());
        // As texts, which the log escapes: some of it is the client's.
        let (login, reason) = (logged(login), reason.to_string());
        // russh calls in a task of its own.
        let _in_connection = self.span.enter();
        info!(login, key, certificate, reason, "refused a key");
        self.refused = Some((login, reason));
        Auth::reject()
    }
}

/// As much of a login name as the log has room for.
fn logged(login: &str) -> String {
    login.chars().take(MAX_LOGGED_LOGIN).collect()
}

impl Drop for Login {
    /// Tells how it went, if nobody logged in.
    fn drop(&mut self) {
        if self.succeeded.is_some() {
            return;
        }
        self.tell_unproven();
        let _in_connection = self.span.enter();
        let named = || self.named.clone().map(|login| (login, NOTHING_OFFERED.to_owned()));
        let (login, reason) = self.refused.clone().or_else(named).unzip();
        let keys = self.offered;
        let offence = if self.began.elapsed() >= self.context.config.login_grace_time {
            metrics().login(LoginResult::TimedOut);
            info!(login, keys, reason, "no login within login_grace_time");
            Offence::GraceExceeded
        } else if login.is_some() {
            metrics().login(LoginResult::Refused);
            info!(login, keys, reason, "left without a login");
            // Without an offer it may have had nothing to try.
            if keys > 0 { Offence::AuthFailed } else { Offence::NoAuth }
        } else {
            // Scanners and load balancers' health checks.
            debug!("left without trying to log in");
            Offence::NoAuth
        };
        // Who it is within another is known, and her neighbours behind the same address have nothing to do with it; and
        // who had to give way did nothing.
        if self.client.outer.is_none() && !self.client.gave_way.is_cancelled() {
            self.context.penalties.add(self.client.address.ip(), offence, Instant::now());
        }
    }
}
