//! What is told of a DevServer: to its sessions, beside what their programs say, and of its use.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::{Instant, timeout_at};

use super::news::Reader;
use super::notices::{self, Audience};
use super::sampler::Sampler;
use super::share::Access;
use super::{Config, Error, Target, Usage, Workspaces};
use crate::api::names;
use crate::identity::Identity;

/// The news of a pod's end take so long at most to reach the cache, by way of the operator.
const PODS_END_HEARD: Duration = Duration::from_secs(1);

impl Workspaces {
    /// Why the pod behind `target` is gone, if it just went: a program's end is often heard of before its pod's.
    pub async fn why_gone(&self, identity: &Identity, target: &Target) -> Option<String> {
        let place = self.place(identity, target).ok()?;
        let (user, name) = (place.owner, place.name);
        let mut changes = self.cache.changes();
        let deadline = Instant::now() + PODS_END_HEARD;
        while self.running(user, name).is_some() || self.falls_asleep(user, name) {
            timeout_at(deadline, changes.changed()).await.ok()?.ok()?;
        }
        let status = self.cache.devserver(user, name).and_then(|server| server.status.clone());
        let why = status.and_then(|status| status.message).unwrap_or_else(|| "it was deleted".to_owned());
        let (whose, called, why) = (place.whose(), place.called(), place.told(&why));
        Some(format!("the pod of {whose}`{called}` is gone: {why}"))
    }

    /// How the DevServer that `target` names is used, and was in the last hour. It is not woken for that.
    pub async fn usage(&self, identity: &Identity, target: &Target) -> Result<Usage, Error> {
        let place = self.place(identity, target)?;
        let (user, name) = (place.owner, place.name);
        let Some(server) = self.cache.devserver(user, name) else {
            return Err(self.no_such_devserver(identity.user(), name.to_owned()));
        };
        let history = match self.running(user, name) {
            Some(workspace) => Some(self.agent(&place.entered(workspace)).await?.history().await?),
            None => None,
        };
        Ok(Usage { server, history })
    }

    /// Looks, for as long as it runs, at how the pods of DevServers are used that nobody is in.
    pub async fn sample(&self) {
        let Config { sample_interval, .. } = self.config;
        let sampler = Sampler { cache: &self.cache, carriers: &self.carriers, every: sample_interval };
        sampler.run(|user, name| self.running(user, name)).await;
    }

    /// What happened to the DevServer that `target` means since somebody was told last. It is its owner's to read.
    pub fn news(&self, identity: &Identity, target: &Target, reader: Reader) -> Vec<String> {
        self.take_news(identity, target, reader).unwrap_or_default()
    }

    fn take_news(&self, identity: &Identity, target: &Target, reader: Reader) -> Option<Vec<String>> {
        let place = self.place(identity, target).ok().filter(|place| place.access == Access::Owner)?;
        let (user, name) = (place.owner, place.name);
        let namespace = names::namespace(user);
        let server = self.cache.devserver(user, name)?;
        let told = self.news.take(&namespace, name, server.status.as_ref()?, reader)?;
        if reader == Reader::Terminal {
            told.note(&self.client, &namespace, name, &self.tasks);
        }
        Some(told.texts)
    }

    /// What her sessions there should be told, each when it is time.
    pub fn notices(&self, identity: &Identity, target: &Target) -> BoxStream<'static, String> {
        match self.place(identity, target) {
            Ok(place) => {
                let plan = self.plans.of(&names::namespace(place.owner), place.name);
                notices::texts(plan, Audience::of(&place))
            }
            Err(_) => stream::empty().boxed(),
        }
    }

    /// Whether there is such a DevServer of hers, or one that is shared with her.
    pub fn has(&self, identity: &Identity, target: &Target) -> bool {
        self.place(identity, target).is_ok_and(|place| self.cache.devserver(place.owner, place.name).is_some())
    }

    /// The name of the DevServer that `target` means, in its owner's namespace.
    pub fn name<'a>(&'a self, target: &'a Target) -> &'a str {
        match target {
            Target::Default => &self.config.default_devserver,
            Target::Named(name) | Target::Shared { name, .. } => name,
        }
    }
}
