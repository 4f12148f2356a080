//! The SSH protocol (RFC 4251–4254). Knows no Kubernetes: what it needs of the rest are the traits below.

mod algorithms;
mod authority;
mod client;
mod config;
mod connection;
mod context;
mod copy;
mod forward;
mod full_screen;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod greeting;
mod host_key;
mod inbox;
mod introduction;
mod jump;
mod limits;
mod login;
mod message;
mod notice;
mod penalties;
mod progress;
mod proxy_protocol;
mod receive;
mod request;
mod room;
mod serve;
mod server;
mod session;
mod signal;
mod standing;
mod throttle;
mod transport;
mod variables;
mod writer;

#[cfg(test)]
mod tests;

pub use authority::Authority;
pub use config::{Config, HostKeySource};
pub use host_key::{
    HostKeys, generate as generate_host_key, known_hosts_line, load_or_create as load_or_create_host_key,
    parse as parse_host_key,
};
pub use server::Server;

use std::net::IpAddr;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use russh::keys::PublicKey;

use crate::carrier::Stream;
use crate::identity::{Authenticator, Credential, Identity, OwnedCredential, Refusal};
use crate::workspace::{self, Address, Command, Listener, Process, Program, Reader, Target, Workspaces};

/// Tells who somebody is.
pub trait Authenticate: Send + Sync + 'static {
    /// Whether `login` should prove, from the address `from`, to hold `key`, or a certificate of it.
    fn welcome(&self, login: &str, key: &PublicKey, from: IpAddr) -> Result<(), Refusal>;
    /// Asks for keys of `login` that are not known yet, but not for long; whether one that was unknown may be known now.
    fn learn<'a>(&'a self, login: &'a str) -> BoxFuture<'a, bool>;
    /// The person that `login` names, now that the client at `from` proved to hold `credential`.
    fn resolve(&self, login: &str, credential: Credential<'_>, from: IpAddr) -> Result<Identity, Refusal>;
    /// Waits until it would not be resolved to this `identity` any more; why, in a sentence for her.
    fn lapse<'a>(
        &'a self,
        login: &'a str,
        credential: &'a OwnedCredential,
        from: IpAddr,
        identity: &'a Identity,
    ) -> BoxFuture<'a, String>;
}

impl Authenticate for Authenticator {
    fn welcome(&self, login: &str, key: &PublicKey, from: IpAddr) -> Result<(), Refusal> {
        Self::welcome(self, login, key, from)
    }

    fn learn<'a>(&'a self, login: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(Self::learn(self, login))
    }

    fn resolve(&self, login: &str, credential: Credential<'_>, from: IpAddr) -> Result<Identity, Refusal> {
        Self::resolve(self, login, credential, from)
    }

    fn lapse<'a>(
        &'a self,
        login: &'a str,
        credential: &'a OwnedCredential,
        from: IpAddr,
        identity: &'a Identity,
    ) -> BoxFuture<'a, String> {
        Box::pin(async move { Self::lapse(self, login, credential, from, identity).await.to_string() })
    }
}

/// Runs programs where somebody belongs.
pub trait Run: Send + Sync + 'static {
    /// Starts `command` where `target` points, telling `progress` in words what it waits for.
    fn start<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
        command: &'a Command,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Process, workspace::Error>>;

    /// Connects to `address`, as seen from where `target` points.
    fn connect<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<Stream, workspace::Error>>;

    /// Listens at `address` where `target` points, telling `progress` in words what it waits for.
    fn listen<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
        address: &'a Address,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Listener, workspace::Error>>;

    /// Listens there again, once it runs, which this waits for and does not bring about.
    fn listen_again<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<Listener, workspace::Error>>;

    /// Waits until somebody else's place, which was shared with her, is no longer; why, in a sentence for her.
    fn withdrawn<'a>(&'a self, identity: &'a Identity, target: &'a Target) -> BoxFuture<'a, String>;

    /// The name of the DevServer that `target` means.
    fn devserver(&self, target: &Target) -> String;

    /// Whether there is such a DevServer of hers, or one that is shared with her.
    fn has(&self, identity: &Identity, target: &Target) -> bool;

    /// What happened where `target` points since somebody was told last, in words.
    fn news(&self, identity: &Identity, target: &Target, reader: Reader) -> Vec<String>;

    /// What whoever has a terminal there should be told meanwhile, each when it is time.
    fn notices(&self, identity: &Identity, target: &Target) -> BoxStream<'static, String>;

    /// Why the place that `target` points to is gone, in words, if it just went.
    fn why_gone<'a>(&'a self, identity: &'a Identity, target: &'a Target) -> BoxFuture<'a, Option<String>>;
}

/// Answers commands that are for the bastion itself.
pub trait Answer: Send + Sync + 'static {
    /// Who serves the command `line` of somebody that logged in to `target`, if no DevServer's shell is to.
    fn answer(&self, identity: &Identity, target: &Target, line: &str, command: &Command) -> Option<Answered>;
}

/// Who serves a command.
pub enum Answered {
    /// The bastion.
    Here(Process),
    /// The DevServer that `Target` means, which runs this.
    There(Target, Program),
}

impl Run for Workspaces {
    fn start<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
        command: &'a Command,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Process, workspace::Error>> {
        Box::pin(Self::start(self, identity, target, command, progress))
    }

    fn news(&self, identity: &Identity, target: &Target, reader: Reader) -> Vec<String> {
        Self::news(self, identity, target, reader)
    }

    fn why_gone<'a>(&'a self, identity: &'a Identity, target: &'a Target) -> BoxFuture<'a, Option<String>> {
        Box::pin(Self::why_gone(self, identity, target))
    }

    fn connect<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<Stream, workspace::Error>> {
        Box::pin(Self::connect(self, identity, target, address))
    }

    fn listen<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
        address: &'a Address,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Listener, workspace::Error>> {
        Box::pin(Self::listen(self, identity, target, address, progress))
    }

    fn listen_again<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<Listener, workspace::Error>> {
        Box::pin(Self::listen_again(self, identity, target, address))
    }

    fn devserver(&self, target: &Target) -> String {
        self.name(target).to_owned()
    }

    fn withdrawn<'a>(&'a self, identity: &'a Identity, target: &'a Target) -> BoxFuture<'a, String> {
        Box::pin(Self::withdrawn(self, identity, target))
    }

    fn has(&self, identity: &Identity, target: &Target) -> bool {
        Self::has(self, identity, target)
    }

    fn notices(&self, identity: &Identity, target: &Target) -> BoxStream<'static, String> {
        Self::notices(self, identity, target)
    }
}
