//! What the SSH server needs of the rest, from those who do it.

use std::net::IpAddr;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use russh::keys::PublicKey;

use crate::carrier::Stream;
use crate::identity::{Authenticator, Credential, Identity, OwnedCredential, Refusal};
use crate::ssh::{Authenticate, Run};
use crate::workspace::{Address, Command, Error, Listener, Process, Progress, Reader, Target, Workspaces};

#[async_trait]
impl Authenticate for Authenticator {
    fn welcome(&self, login: &str, key: &PublicKey, from: IpAddr) -> Result<(), Refusal> {
        Self::welcome(self, login, key, from)
    }

    async fn learn(&self, login: &str) -> bool {
        Self::learn(self, login).await
    }

    fn resolve(&self, login: &str, credential: Credential<'_>, from: IpAddr) -> Result<Identity, Refusal> {
        Self::resolve(self, login, credential, from)
    }

    async fn lapse(&self, login: &str, credential: &OwnedCredential, from: IpAddr, identity: &Identity) -> String {
        Self::lapse(self, login, credential, from, identity).await.to_string()
    }
}

#[async_trait]
impl Run for Workspaces {
    async fn start(
        &self,
        identity: &Identity,
        target: &Target,
        command: &Command,
        progress: Progress<'_>,
    ) -> Result<Process, Error> {
        Self::start(self, identity, target, command, progress).await
    }

    async fn connect(&self, identity: &Identity, target: &Target, address: &Address) -> Result<Stream, Error> {
        Self::connect(self, identity, target, address).await
    }

    async fn listen(
        &self,
        identity: &Identity,
        target: &Target,
        address: &Address,
        progress: Progress<'_>,
    ) -> Result<Listener, Error> {
        Self::listen(self, identity, target, address, progress).await
    }

    async fn listen_again(&self, identity: &Identity, target: &Target, address: &Address) -> Result<Listener, Error> {
        Self::listen_again(self, identity, target, address).await
    }

    fn withdrawn<'a>(&'a self, identity: &'a Identity, target: &'a Target) -> BoxFuture<'a, String> {
        Box::pin(Self::withdrawn(self, identity, target))
    }

    fn devserver(&self, target: &Target) -> String {
        self.name(target).to_owned()
    }

    fn has(&self, identity: &Identity, target: &Target) -> bool {
        Self::has(self, identity, target)
    }

    fn news(&self, identity: &Identity, target: &Target, reader: Reader) -> Vec<String> {
        Self::news(self, identity, target, reader)
    }

    fn notices(&self, identity: &Identity, target: &Target) -> BoxStream<'static, String> {
        Self::notices(self, identity, target)
    }

    async fn why_gone(&self, identity: &Identity, target: &Target) -> Option<String> {
        Self::why_gone(self, identity, target).await
    }
}
