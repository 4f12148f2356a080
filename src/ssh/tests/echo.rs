//! What the server needs of the rest, with tasks for programs.

use futures::future::BoxFuture;

use crate::carrier::Stream;
use crate::identity::Identity;
use crate::ssh::{Answer, Answered, Run};
use crate::workspace::{self, Address, Command, EchoWorkspaces, Listener, Process, Reader, Target};

/// Who would listen there waits for a DevServer that does not come.
pub(super) const NEVER_MADE: u16 = 7;

impl Answer for EchoWorkspaces {
    fn answer(&self, _: &Identity, _: &Target, _: &str, _: &Command) -> Option<Answered> {
        None
    }
}

impl Run for EchoWorkspaces {
    fn start<'a>(
        &'a self,
        _: &'a Identity,
        target: &'a Target,
        command: &'a Command,
        _: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Process, workspace::Error>> {
        let missing = |name: &str| workspace::Error::NoSuchDevServer {
            user: "alice".into(),
            name: name.into(),
            existing: vec!["dev".into(), "gpu".into()],
        };
        Box::pin(async move {
            match target {
                Target::Named(name) if name != "gpu" => Err(missing(name)),
                Target::Shared { .. } => Err(missing(&target.to_string())),
                _ => Ok(Self::start(*self, command)),
            }
        })
    }

    fn connect<'a>(
        &'a self,
        _: &'a Identity,
        _: &'a Target,
        _: &'a Address,
    ) -> BoxFuture<'a, Result<Stream, workspace::Error>> {
        Box::pin(std::future::ready(Err(workspace::Error::NoAgent)))
    }

    fn listen<'a>(
        &'a self,
        _: &'a Identity,
        _: &'a Target,
        address: &'a Address,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Listener, workspace::Error>> {
        match address {
            Address::Tcp { port: NEVER_MADE, .. } => {
                progress("waking your DevServer");
                Box::pin(std::future::pending())
            }
            _ => Box::pin(std::future::ready(Err(workspace::Error::NoAgent))),
        }
    }

    fn listen_again<'a>(
        &'a self,
        _: &'a Identity,
        _: &'a Target,
        _: &'a Address,
    ) -> BoxFuture<'a, Result<Listener, workspace::Error>> {
        Box::pin(std::future::ready(Err(workspace::Error::NoAgent)))
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
        Box::pin(std::future::pending())
    }

    fn news(&self, _: &Identity, _: &Target, _: Reader) -> Vec<String> {
        Vec::new()
    }

    fn notices(&self, _: &Identity, _: &Target) -> futures::stream::BoxStream<'static, String> {
        futures::StreamExt::boxed(futures::stream::pending())
    }

    fn why_gone<'a>(&'a self, _: &'a Identity, _: &'a Target) -> BoxFuture<'a, Option<String>> {
        Box::pin(std::future::ready(None))
    }
}
