//! The SSH protocol (RFC 4251–4254). Knows no Kubernetes: what it needs of the rest are the traits below.

mod algorithms;
mod allowance;
mod authority;
mod client;
mod closing;
mod config;
mod connection;
mod context;
mod copy;
mod destination;
mod events;
mod forward;
mod full_screen;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod host_key;
mod inbox;
mod introduction;
mod jump;
mod limits;
mod logged_in;
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
mod version_exchange;
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

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use russh::keys::PublicKey;

use crate::carrier::Stream;
use crate::identity::{Credential, Identity, OwnedCredential, Refusal};
use crate::workspace::{self, Address, Command, Listener, Process, Program, Progress, Reader, Target};

/// Tells who somebody is.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// Whether `login` should prove, from the address `from`, to hold `key`, or a certificate of it.
    fn welcome(&self, login: &str, key: &PublicKey, from: IpAddr) -> Result<(), Refusal>;
    /// Asks for keys of `login` that are not known yet, but not for long; whether one that was unknown may be known
    /// now.
    async fn learn(&self, login: &str) -> bool;
    /// The person that `login` names, now that the client at `from` proved to hold `credential`.
    fn resolve(&self, login: &str, credential: Credential<'_>, from: IpAddr) -> Result<Identity, Refusal>;
    /// Waits until it would not be resolved to this `identity` any more; why, in a sentence for her.
    async fn lapse(&self, login: &str, credential: &OwnedCredential, from: IpAddr, identity: &Identity) -> String;
}

/// Runs programs where somebody belongs.
#[async_trait]
pub trait Run: Send + Sync + 'static {
    /// Starts `command` where `target` points, telling `progress` in words what it waits for.
    async fn start(
        &self,
        identity: &Identity,
        target: &Target,
        command: &Command,
        progress: Progress<'_>,
    ) -> Result<Process, workspace::Error>;

    /// Connects to `address`, as seen from where `target` points.
    async fn connect(
        &self,
        identity: &Identity,
        target: &Target,
        address: &Address,
    ) -> Result<Stream, workspace::Error>;

    /// Listens at `address` where `target` points, telling `progress` in words what it waits for.
    async fn listen(
        &self,
        identity: &Identity,
        target: &Target,
        address: &Address,
        progress: Progress<'_>,
    ) -> Result<Listener, workspace::Error>;

    /// Listens there again, once it runs, which this waits for and does not bring about.
    async fn listen_again(
        &self,
        identity: &Identity,
        target: &Target,
        address: &Address,
    ) -> Result<Listener, workspace::Error>;

    /// Waits until somebody else's place, which is shared with her as this is called, is no longer; why, in a sentence
    /// for her.
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
    async fn why_gone(&self, identity: &Identity, target: &Target) -> Option<String>;
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
