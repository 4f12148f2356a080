//! What is told of a DevServer: to its sessions, beside what their programs say, and of its use.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::SignedDuration;
use tokio::time::{Instant, timeout_at};

use super::news::Reader;
use super::notices::{self, Audience};
use super::sampler::Sampler;
use super::share::Access;
use super::{Config, Error, Target, Usage, Workspaces};
use crate::api::{DevServerStatus, Phase, conditions, names};
use crate::identity::Identity;

/// How the last pod ended, where `status` tells by now what the next one waits for.
fn unasked_end(status: &DevServerStatus) -> Option<String> {
    let waits = matches!(status.phase, Phase::Pending | Phase::Starting | Phase::Failed);
    let ready =
        conditions::find(&status.conditions, conditions::READY).filter(|ready| waits && ready.status != "True")?;
    let end = status.untold_end()?;
    let is_its = end.time.0.duration_since(ready.last_transition_time.0) > -PODS_END_TOLD;
    is_its.then(|| end.message.clone())
}

/// The news of a pod's end take so long at most to reach the cache, by way of the operator.
const PODS_END_HEARD: Duration = Duration::from_secs(1);
/// A DevServer is told not to be ready within this after its pod's end.
const PODS_END_TOLD: SignedDuration = SignedDuration::from_secs(10);

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
        let end = status.as_ref().and_then(unasked_end);
        let why = end.or_else(|| status?.message).unwrap_or_else(|| "it was deleted".to_owned());
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(ended: &str, phase: &str, message: &str) -> Option<String> {
        let ready = json!({
            "type": "Ready", "status": "False", "reason": "x", "message": "", "lastTransitionTime": "2026-11-01T10:00:00Z"
        });
        let end = json!({ "time": ended, "reason": "Preempted", "message": "it had to make room" });
        let status = json!({ "phase": phase, "message": message, "conditions": [ready], "lastEnd": end });
        unasked_end(&serde_json::from_value(status).unwrap())
    }

    /// Who was thrown out of a pod read that no node fits.
    #[test]
    fn how_a_pod_ended_goes_before_what_the_next_one_waits_for() {
        let end = Some("it had to make room".to_owned());
        assert_eq!(told("2026-11-01T09:59:58Z", "Pending", "no node fits"), end);
        assert_eq!(told("2026-11-01T10:05:00Z", "Starting", "starting on node n1"), end, "its node was silent first");
        assert_eq!(told("2026-11-01T09:00:00Z", "Pending", "no node fits"), None, "an earlier one's");
        assert_eq!(told("2026-11-01T09:59:58Z", "Starting", "started again: it had to make room"), None);
        assert_eq!(told("2026-11-01T09:59:58Z", "Suspended", "suspended since"), None);
    }
}
