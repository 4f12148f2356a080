//! Looks at the pods of DevServers that nobody is in: a job that runs there keeps them awake, and only they can tell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::debug;

use super::Workspace;
use super::carriers::Carriers;
use super::rounds::Rounds;
use crate::api::{DevServer, IdleAction, Phase, SuspensionReason, conditions, names};
use crate::cache::Cache;
use crate::telemetry::chain;

pub(super) struct Sampler<'a> {
    pub(super) cache: &'a Cache,
    pub(super) carriers: &'a Carriers,
    pub(super) every: Duration,
}

/// For one pod.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many times as often as a pod is looked at, those that are due are looked for; and within as long a replica
/// begins.
const SHARE: u32 = 10;
/// And no more seldom than that.
const SLACK: Duration = Duration::from_secs(30);

impl Sampler<'_> {
    /// For ever. `running` tells the workspace of a user's DevServer, if it runs.
    pub(super) async fn run(&self, running: impl Fn(&str, &str) -> Option<Workspace>) {
        if self.every.is_zero() {
            return;
        }
        let slack = (self.every / SHARE).min(SLACK);
        let rounds = Rounds::new(self.every);
        let mut looks = FuturesUnordered::new();
        let mut ticks = interval(slack);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(()) = looks.next() => continue,
            }
            let servers = self.cache.devservers();
            rounds.forget(|user, name| self.cache.devserver(user, name).is_none());
            let mut due: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (user, name) in servers.iter().filter(|server| self.is_due(server)).filter_map(key) {
                due.entry(user).or_default().push(name);
            }
            for (user, names) in due {
                let Some(round) = rounds.begin(&user) else { continue };
                let running = &running;
                looks.push(async move {
                    // Of several replicas the one that begins first does it; the others hear of it.
                    sleep(slack.mul_f64(rand::random())).await;
                    let user = &user;
                    let look = |name: String| async move {
                        let still_due = self.cache.devserver(user, &name).is_some_and(|server| self.is_due(&server));
                        match running(user, &name).filter(|_| still_due) {
                            Some(workspace) => self.look(&workspace).await,
                            None => true,
                        }
                    };
                    round.look_at(names, look).await;
                });
            }
        }
    }

    /// Whether that was of any use.
    async fn look(&self, workspace: &Workspace) -> bool {
        if self.carriers.has(workspace) {
            return true; // Somebody is in, and it is told anyhow.
        }
        match timeout(PATIENCE, self.carriers.report_once(workspace)).await {
            Ok(Ok(())) => return true,
            // The cluster's, and not the pod's: all are looked at again as soon as it is back.
            Ok(Err(error)) if error.is_outage() => return true,
            Ok(Err(error)) => debug!(error = chain(&error), pod = workspace.pod, "failed to see how a pod is used"),
            Err(_) => debug!(pod = workspace.pod, "a pod does not tell how it is used"),
        }
        false
    }

    fn is_due(&self, server: &DevServer) -> bool {
        is_due(server, SignedDuration::try_from(self.every).unwrap_or(SignedDuration::MAX), Timestamp::now())
    }
}

/// How old what is known may be of one that is about to be suspended for being idle: what it has begun since counts.
const SOON: SignedDuration = SignedDuration::from_secs(25);

/// Whether nobody has looked at it for so long, and anybody cares.
fn is_due(server: &DevServer, every: SignedDuration, now: Timestamp) -> bool {
    let Some(status) = &server.status else { return false };
    let idle = server.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.idle.as_ref());
    let may_sleep = idle.is_none_or(|idle| idle.action != IdleAction::None);
    let observed = status.activity.as_ref().and_then(|activity| activity.observed_time.as_ref());
    let ready = conditions::find(&status.conditions, conditions::READY);
    let began = ready.map(|ready| &ready.last_transition_time);
    let is_announced = status.suspension.as_ref().is_some_and(|plan| plan.reason == SuspensionReason::Idle);
    let every = if is_announced { every.min(SOON) } else { every };
    let last = [observed, began].into_iter().flatten().map(|time| time.0).max();
    status.phase == Phase::Running
        && status.agent
        && may_sleep
        && server.metadata.deletion_timestamp.is_none()
        && last.is_none_or(|last| now.duration_since(last) >= every)
}

/// Its user and its name.
fn key(server: &Arc<DevServer>) -> Option<(String, String)> {
    let user = names::user_of(server.metadata.namespace.as_deref()?)?;
    Some((user.to_owned(), server.name_any()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;
    use crate::api::{Activity, DevServerSpec, DevServerStatus, Idle, Lifecycle, Suspension};

    const EVERY: SignedDuration = SignedDuration::from_mins(5);

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn ago(seconds: i64) -> Time {
        Time(now() - SignedDuration::from_secs(seconds))
    }

    /// It became ready an hour ago, and was looked at so long ago.
    fn server(observed: Option<i64>) -> DevServer {
        let ready = Condition {
            type_: conditions::READY.to_owned(),
            status: "True".to_owned(),
            reason: "Ready".to_owned(),
            message: String::new(),
            last_transition_time: ago(3_600),
            observed_generation: None,
        };
        let mut server = DevServer::new("dev", DevServerSpec::default());
        server.metadata.namespace = Some("dev-alice".to_owned());
        server.status = Some(DevServerStatus {
            phase: Phase::Running,
            agent: true,
            activity: Some(Activity { observed_time: observed.map(ago), ..Activity::default() }),
            conditions: vec![ready],
            ..DevServerStatus::default()
        });
        server
    }

    fn due(change: impl FnOnce(&mut DevServer, &mut DevServerStatus)) -> bool {
        let mut server = server(Some(300));
        let mut status = server.status.take().unwrap();
        change(&mut server, &mut status);
        server.status = Some(status);
        is_due(&server, EVERY, now())
    }

    #[test]
    fn only_what_nobody_has_looked_at_for_long_is_looked_at() {
        assert!(is_due(&server(Some(300)), EVERY, now()) && is_due(&server(None), EVERY, now()));
        assert!(!is_due(&server(Some(299)), EVERY, now()));
        assert!(!due(|_, status| status.conditions[0].last_transition_time = ago(10)), "it has just begun");
    }

    #[test]
    fn one_that_is_about_to_be_suspended_for_being_idle_is_looked_at_soon() {
        let announced = |reason, observed| {
            due(|_, status| {
                let (time, message) = (ago(-300), String::new());
                status.suspension = Some(Suspension { time, reason, message, advice: None });
                status.activity = Some(Activity { observed_time: Some(ago(observed)), ..Activity::default() });
            })
        };
        assert!(announced(SuspensionReason::Idle, 25) && !announced(SuspensionReason::Idle, 24));
        assert!(announced(SuspensionReason::Expired, 300) && !announced(SuspensionReason::Expired, 299));
    }

    #[test]
    fn what_cannot_tell_or_will_not_sleep_is_left_alone() {
        assert!(due(|_, _| {}));
        assert!(!due(|_, status| status.agent = false));
        assert!(!due(|_, status| status.phase = Phase::Suspended));
        assert!(!due(|server, _| server.metadata.deletion_timestamp = Some(ago(1))));
        let never = Idle { after: None, action: IdleAction::None };
        assert!(!due(|server, _| {
            server.spec.lifecycle = Some(Lifecycle { idle: Some(never), ..Lifecycle::default() });
        }));
    }

    #[test]
    fn whose_it_is_is_in_its_namespace() {
        assert_eq!(key(&Arc::new(server(None))), Some(("alice".to_owned(), "dev".to_owned())));
        let mut stray = server(None);
        stray.metadata.namespace = Some("default".to_owned());
        assert_eq!(key(&Arc::new(stray)), None);
    }
}
