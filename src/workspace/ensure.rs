//! Creates or wakes what a login needs, and waits until it is ready.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use jiff::Timestamp;
use kube::Api;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::carriers::Carriers;
use super::news::News;
use super::notices::Plans;
use super::share::{Access, Place};
use super::{Error, Progress, Target, wake};
use crate::api::{DevServer, Phase, names};
use crate::cache::Cache;
use crate::identity::Identity;
use crate::provisioning;

/// The `[workspace]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of the DevServer that a user gets at her first login.
    pub default_devserver: String,
    /// How long a login waits for its pod.
    #[serde(with = "crate::config::duration")]
    pub start_timeout: Duration,
    /// How often a silent exec stream gets a piece of data that means nothing.
    #[serde(with = "crate::config::duration")]
    pub exec_keepalive: Duration,
    /// How often an exec stream is pinged.
    #[serde(with = "crate::config::duration")]
    pub exec_ping: Duration,
    /// How long the exec to a pod's agent may be away before its sessions and forwards are given up.
    #[serde(with = "crate::config::duration")]
    pub carrier_grace: Duration,
    /// What waits on all carriers, in MiB, before some have to do with less.
    pub carrier_memory_mib: usize,
    /// How often a DevServer's status tells how it is used.
    #[serde(with = "crate::config::duration")]
    pub activity_interval: Duration,
    /// How often the pod of a DevServer that nobody is in is looked at; never where it is zero.
    #[serde(with = "crate::config::duration")]
    pub sample_interval: Duration,
    /// How long the exec to a pod's agent is kept after its last session.
    #[serde(with = "crate::config::duration")]
    pub carrier_linger: Duration,
}

/// The pod behind a DevServer, ready for programs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workspace {
    pub(super) namespace: String,
    pub(super) devserver: String,
    pub(super) pod: String,
    /// What tells it from the one before it, which had the same name.
    pub(super) pod_uid: Option<String>,
    /// The account that acts in it for its owner; none where whoever enters has a client of her own.
    pub(super) service_account: Option<String>,
    /// Whom it acts for, if that is not its owner.
    pub(super) on_behalf_of: Option<String>,
    /// Whether an agent in it runs what sessions ask for.
    pub(super) agent: bool,
}

impl Workspace {
    /// That of a DevServer of `namespace`, entered by nobody yet; none while it does not run, or is not to.
    pub(super) fn of_running(server: &DevServer, namespace: &str) -> Option<Self> {
        let status = server.status.as_ref().filter(|status| status.phase == Phase::Running)?;
        if server.metadata.deletion_timestamp.is_some() || wake::sleeps(server) {
            return None;
        }
        let name = server.metadata.name.clone()?;
        Some(Self {
            namespace: namespace.to_owned(),
            // The operator names it after its DevServer. Nothing else in the status could lead elsewhere.
            pod: status.pod_name.clone().filter(|pod| *pod == name)?,
            devserver: name,
            pod_uid: status.pod_uid.clone(),
            service_account: None,
            on_behalf_of: None,
            agent: status.agent,
        })
    }
}

/// Everybody's workspaces.
#[derive(Clone)]
pub struct Workspaces {
    pub(super) client: kube::Client,
    pub(super) cache: Cache,
    pub(super) carriers: Carriers,
    pub(super) plans: Plans,
    pub(super) config: Config,
    pub(super) provisioning: provisioning::Config,
    /// One login at a time provisions for a user; the others find it done.
    pub(super) provisioning_of: Arc<DashMap<String, Arc<Mutex<()>>>>,
    pub(super) news: News,
    pub(super) tasks: TaskTracker,
}

/// An operator at work tells of a changed spec within this.
const OPERATOR_ANSWERS: Duration = Duration::from_secs(2);
/// How often something is looked for that is deleted, or put to sleep, while it is waited for.
const MAX_TURNS: usize = 20;

impl Workspaces {
    /// `tasks` is awaited by a drain: it holds what is still to be cleaned up in pods.
    pub fn new(
        client: kube::Client,
        cache: Cache,
        config: Config,
        provisioning: provisioning::Config,
        tasks: TaskTracker,
    ) -> Self {
        let plans = Plans::start(cache.clone());
        let carriers = Carriers::new(client.clone(), cache.clone(), &config, plans.clone());
        Self {
            client,
            cache,
            carriers,
            plans,
            config,
            provisioning,
            provisioning_of: Arc::default(),
            news: News::default(),
            tasks,
        }
    }

    /// The ready workspace behind `target`, for as long as she has no less than this `access` to it. With the DevServer
    /// running this asks nothing of the API server.
    pub(super) async fn ensure(
        &self,
        identity: &Identity,
        target: &Target,
        access: Access,
        progress: Progress<'_>,
    ) -> Result<Workspace, Error> {
        let (mut generation, mut is_kept_awake) = (None, false);
        for _ in 0..MAX_TURNS {
            // Each time: what is shared may be taken back meanwhile.
            let place = self.place(identity, target)?;
            place.is_still(access)?;
            let (user, name) = (place.owner, place.name);
            // The operator gives rights to those whom it knows.
            if place.access == Access::Guest && self.cache.user(identity.user()).is_none() {
                self.provision_user(identity.user(), progress).await?;
            }
            if let Some(why) = self.cache.unreadable_devserver(user, name) {
                let message = format!("its DevServer object cannot be read; put it right with kubectl: {why}");
                return Err(Error::Failed { name: place.called(), message });
            }
            if let Some(workspace) = self.running(user, name) {
                if !self.settles(user, name, generation).await {
                    continue;
                }
                // Once that is done, only an operator that is away still says so, and it puts nothing to sleep.
                if place.access == Access::Viewer || is_kept_awake || !self.is_about_to_sleep(user, name) {
                    return Ok(place.entered(workspace));
                }
                generation = wake::keep_awake(&self.client, user, name).await?;
                is_kept_awake = true;
                continue;
            }
            if place.access == Access::Viewer {
                return Err(Error::NotRunning { name: target.to_string() });
            }
            if self.sleeps(user, name, generation) {
                progress("waking your DevServer");
                generation = wake::wake(&self.client, user, name).await?;
            } else if !self.exists(user, name).await? {
                if place.access != Access::Owner || name != self.config.default_devserver {
                    return Err(self.no_such_devserver(identity.user(), target.to_string()));
                }
                self.provision(user, name, progress).await?;
            }
            if let Some(workspace) = self.wait(&place, generation, progress).await? {
                return Ok(place.entered(workspace));
            }
        }
        let place = self.place(identity, target)?;
        let message = format!("something keeps suspending it; `devctl why {}` shows what", place.name);
        Err(Error::NotWoken { name: place.called(), message: place.told(&message).to_owned() })
    }

    /// Whether there is a DevServer `name`; the cache may be a moment behind whoever made it.
    async fn exists(&self, user: &str, name: &str) -> Result<bool, Error> {
        if self.cache.devserver(user, name).is_some() {
            return Ok(true);
        }
        if !names::is_devserver_name(name) {
            return Ok(false);
        }
        Ok(self.devservers(user).get_opt(name).await.map_err(Error::Api)?.is_some())
    }

    /// Whether it is to sleep, as far as is known of its spec since `generation`.
    fn sleeps(&self, user: &str, name: &str, generation: Option<i64>) -> bool {
        self.cache.devserver(user, name).is_some_and(|server| {
            server.metadata.deletion_timestamp.is_none()
                && server.metadata.generation >= generation
                && wake::sleeps(&server)
        })
    }

    fn is_about_to_sleep(&self, user: &str, name: &str) -> bool {
        let now = Timestamp::now();
        self.cache.devserver(user, name).is_some_and(|server| wake::is_about_to_sleep(&server, now))
    }

    /// Whether it is to sleep and the operator has not told of it yet.
    pub(super) fn falls_asleep(&self, user: &str, name: &str) -> bool {
        let is_told =
            |server: &DevServer| server.status.as_ref().is_some_and(|status| status.phase == Phase::Suspended);
        self.cache.devserver(user, name).is_some_and(|server| wake::sleeps(&server) && !is_told(&server))
    }

    /// Whether what is told of it is about its spec as it is, or as it became with `generation`. Right after a change
    /// its pod may be about to go; an operator that says nothing for a while is away, and the pod as it was.
    async fn settles(&self, user: &str, name: &str, generation: Option<i64>) -> bool {
        let is_settled = || {
            self.cache.devserver(user, name).is_some_and(|server| {
                let observed = server.status.as_ref().and_then(|status| status.observed_generation);
                observed == server.metadata.generation && observed >= generation
            })
        };
        let mut changes = self.cache.changes();
        if is_settled() {
            return true;
        }
        let deadline = Instant::now() + OPERATOR_ANSWERS;
        while let Ok(Ok(())) = timeout_at(deadline, changes.changed()).await {
            if is_settled() {
                return false;
            }
        }
        true
    }

    pub(super) fn running(&self, user: &str, name: &str) -> Option<Workspace> {
        let server = self.cache.devserver(user, name)?;
        let running = Workspace::of_running(&server, &names::namespace(user))?;
        Some(Workspace { service_account: Some(names::service_account_username(user)), ..running })
    }

    /// Waits until the DevServer runs as its spec's `generation` has it, telling what it waits for; `None` if it was
    /// deleted or suspended meanwhile.
    async fn wait(
        &self,
        place: &Place<'_>,
        generation: Option<i64>,
        progress: Progress<'_>,
    ) -> Result<Option<Workspace>, Error> {
        let (user, name) = (place.owner, place.name);
        let deadline = Instant::now() + self.config.start_timeout;
        let mut changes = self.cache.changes();
        let mut seen = false;
        let mut message = "waiting for the operator".to_owned();
        loop {
            let server = self.cache.devserver(user, name);
            let observed = server.as_ref().and_then(|server| server.status.as_ref()?.observed_generation);
            if observed >= generation
                && let Some(workspace) = self.running(user, name)
            {
                return Ok(Some(workspace));
            }
            if (seen && server.is_none()) || self.sleeps(user, name, generation) {
                return Ok(None);
            }
            seen |= server.is_some();
            let status = server.as_ref().and_then(|server| {
                let status = server.status.as_ref()?;
                (status.observed_generation == server.metadata.generation).then_some(status)
            });
            if let Some(status) = status {
                message = status.message.clone().unwrap_or_else(|| format!("{:?}", status.phase).to_lowercase());
                if status.phase == Phase::Failed {
                    return Err(Error::Failed { name: place.called(), message: place.told(&message).to_owned() });
                }
            }
            let message = place.told(&message);
            progress(message);
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                // The watches end with a shutdown only.
                Ok(Err(_)) | Err(_) => {
                    return Err(Error::TimedOut { name: place.called(), message: message.to_owned() });
                }
            }
        }
    }

    pub(super) fn devservers(&self, user: &str) -> Api<DevServer> {
        Api::namespaced(self.client.clone(), &names::namespace(user))
    }
}
