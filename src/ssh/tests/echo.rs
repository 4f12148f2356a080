//! What the server needs of the rest, with tasks for programs.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::carrier::Stream;
use crate::identity::Identity;
use crate::ssh::{Answer, Answered, Run};
use crate::workspace::{Address, Command, EchoWorkspaces, Error, Listener, Process, Progress, Reader, Target};

/// Who would listen there or connect to it waits for a DevServer that does not come.
pub(super) const NEVER_MADE: u16 = 7;

/// Where people go.
#[derive(Clone, Default)]
pub(super) struct Echo {
    /// Somebody waits.
    pub(super) waits: Arc<Notify>,
    /// Then nobody waits any more for what does not come.
    pub(super) given_up: CancellationToken,
}

impl Answer for Echo {
    fn answer(&self, _: &Identity, _: &Target, _: &str, _: &Command) -> Option<Answered> {
        None
    }
}

#[async_trait]
impl Run for Echo {
    async fn start(&self, _: &Identity, target: &Target, command: &Command, _: Progress<'_>) -> Result<Process, Error> {
        let missing = |name: &str| Error::NoSuchDevServer {
            user: "alice".into(),
            name: name.into(),
            existing: vec!["dev".into(), "gpu".into()],
        };
        match target {
            Target::Named(name) if name != "gpu" => Err(missing(name)),
            Target::Shared { .. } => Err(missing(&target.to_string())),
            _ => Ok(EchoWorkspaces.start(command)),
        }
    }

    async fn connect(&self, _: &Identity, _: &Target, address: &Address) -> Result<Stream, Error> {
        if matches!(address, Address::Tcp { port: NEVER_MADE, .. }) {
            self.waits.notify_one();
            self.given_up.cancelled().await;
        }
        Err(Error::NoAgent)
    }

    async fn listen(
        &self,
        _: &Identity,
        _: &Target,
        address: &Address,
        progress: Progress<'_>,
    ) -> Result<Listener, Error> {
        if matches!(address, Address::Tcp { port: NEVER_MADE, .. }) {
            progress("resuming your DevServer");
            self.given_up.cancelled().await;
        }
        Err(Error::NoAgent)
    }

    async fn listen_again(&self, _: &Identity, _: &Target, _: &Address) -> Result<Listener, Error> {
        Err(Error::NoAgent)
    }

    fn devserver(&self, target: &Target) -> String {
        match target {
            Target::Default => "dev".to_owned(),
            Target::Named(name) | Target::Shared { name, .. } => name.clone(),
        }
    }

    fn has(&self, _: &Identity, target: &Target) -> bool {
        *target == Target::Named("gpu".to_owned())
    }

    fn withdrawn<'a>(&'a self, _: &'a Identity, _: &'a Target) -> BoxFuture<'a, String> {
        std::future::pending().boxed()
    }

    fn news(&self, _: &Identity, _: &Target, _: Reader) -> Vec<String> {
        Vec::new()
    }

    fn notices(&self, _: &Identity, _: &Target) -> BoxStream<'static, String> {
        stream::pending().boxed()
    }

    async fn why_gone(&self, _: &Identity, _: &Target) -> Option<String> {
        None
    }
}
