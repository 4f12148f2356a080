//! Creates or wakes what a login needs, waits until it is ready, and starts programs in it.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::carriers::{Carriers, Held};
use super::listeners::Listener;
use super::news::{News, Reader};
use super::notices::{self, Plans};
use super::process::{self, Keepalive, carried};
use super::sampler::Sampler;
use super::share::{Access, Place};
use super::{Address, Cache, Command, Error, Process, Target, Usage, wake};
use crate::api::user::UserPhase;
use crate::api::{DevServer, DevServerUser, DevServerUserSpec, Phase, names};
use crate::carrier::Stream;
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

/// The pod behind a DevServer, ready for programs. Only [`Workspaces`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workspace {
    pub(super) namespace: String,
    pub(super) devserver: String,
    pub(super) pod: String,
    /// What tells it from the one before it, which had the same name.
    pub(super) pod_uid: Option<String>,
    /// The account that acts in it for its owner.
    pub(super) service_account: String,
    /// Whom it acts for, if that is not its owner.
    pub(super) on_behalf_of: Option<String>,
    /// Whether an agent in it runs what sessions ask for.
    pub(super) agent: bool,
}

/// Everybody's workspaces.
#[derive(Clone)]
pub struct Workspaces {
    client: kube::Client,
    pub(super) cache: Cache,
    carriers: Carriers,
    plans: Plans,
    config: Config,
    provisioning: provisioning::Config,
    /// One login at a time provisions for a user; the others find it done.
    provisioning_of: Arc<DashMap<String, Arc<Mutex<()>>>>,
    news: News,
    tasks: TaskTracker,
}

/// How long a pod that the cache calls running may refuse programs: the cache is late, or it is being replaced.
const STALE: Duration = Duration::from_secs(20);
/// How long an API server may be away before a login gives up.
const OUTAGE: Duration = Duration::from_secs(30);
/// An API server that just started, or that another one's role binding has not reached, refuses for so long.
const RIGHTS_HEARD: Duration = Duration::from_secs(2);
/// A right that a guest has just been given takes so long at most, by way of the operator.
const SHARE_HEARD: Duration = Duration::from_secs(10);
/// An operator at work tells of a changed spec within this.
const OPERATOR_ANSWERS: Duration = Duration::from_secs(2);
/// How often something is looked for that is deleted, or put to sleep, while it is waited for.
const MAX_TURNS: usize = 20;
/// The news of a pod's end take so long at most to reach the cache, by way of the operator.
const PODS_END_HEARD: Duration = Duration::from_secs(1);

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

    /// Runs `command` in the workspace that `target` names, which is made or woken first.
    /// `progress` is told, in words for the user, what it waits for.
    pub async fn start(
        &self,
        identity: &Identity,
        target: &Target,
        command: &Command,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Process, Error> {
        let keepalive = Keepalive { data: self.config.exec_keepalive, ping: self.config.exec_ping };
        let command = &self.place(identity, target)?.admit(command)?;
        let start = |workspace: Workspace| {
            let start = async move {
                match workspace.agent {
                    true => carried::start(&*self.carriers.of(&workspace).await?, command).await,
                    false => process::start(&self.client, &workspace, command, keepalive, &self.tasks).await,
                }
            };
            start.boxed()
        };
        self.enter(identity, target, progress, start).await
    }

    /// Connects to `address` from within the workspace that `target` names, which is made or woken first.
    pub async fn connect(&self, identity: &Identity, target: &Target, address: &Address) -> Result<Stream, Error> {
        self.place(identity, target)?.admit_work()?;
        let connect = |workspace| async move { self.agent(&workspace).await?.connect(address).await }.boxed();
        self.enter(identity, target, &|_| {}, connect).await
    }

    /// Listens at `address` within the workspace that `target` names, which is made or woken first.
    pub async fn listen(&self, identity: &Identity, target: &Target, address: &Address) -> Result<Listener, Error> {
        self.place(identity, target)?.admit_work()?;
        let listen = |workspace| async move { self.agent(&workspace).await?.listen(address).await }.boxed();
        self.enter(identity, target, &|_| {}, listen).await
    }

    async fn agent(&self, workspace: &Workspace) -> Result<Held, Error> {
        if workspace.agent { self.carriers.of(workspace).await } else { Err(Error::NoAgent) }
    }

    /// Does `work` in a workspace that is ready, again while its pod is being replaced or the cluster is away.
    async fn enter<'a, T>(
        &self,
        identity: &Identity,
        target: &Target,
        progress: &(dyn Fn(&str) + Send + Sync),
        work: impl Fn(Workspace) -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut failing_since = None;
        loop {
            let workspace = self.ensure(identity, target, progress).await?;
            let pod = workspace.pod.clone();
            let error = match work(workspace).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let (patience, words) = match &error {
                error if error.pod_is_gone() => (STALE, "the pod is being replaced"),
                error if error.is_outage() => (OUTAGE, "the cluster does not answer; trying again"),
                Error::Refused { code: 403, .. } => match target {
                    Target::Shared { .. } => (SHARE_HEARD, "the cluster learns of your rights"),
                    _ => (RIGHTS_HEARD, "the cluster learns of your rights"),
                },
                _ => return Err(error),
            };
            if failing_since.get_or_insert_with(Instant::now).elapsed() > patience {
                return Err(error);
            }
            progress(words);
            debug!(%error, pod, "failed to enter the pod; trying again");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Returns once nothing of sessions that are over is left to be told to pods: to be awaited by a drain.
    pub async fn settled(&self) {
        self.tasks.wait().await;
        self.carriers.settled().await;
    }

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
        Some(format!("the pod of your DevServer `{name}` is gone: {why}"))
    }

    /// How the DevServer that `target` names is used, and was in the last hour. It is not woken for that.
    pub async fn usage(&self, identity: &Identity, target: &Target) -> Result<Usage, Error> {
        let place = self.place(identity, target)?;
        let (user, name) = (place.owner, place.name);
        let Some(server) = self.cache.devserver(user, name) else {
            let existing = self.cache.devservers_of(user);
            return Err(Error::NoSuchDevServer { user: user.to_owned(), name: name.to_owned(), existing });
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
            Ok(Place { owner, name, .. }) => notices::texts(self.plans.of(&names::namespace(owner), name), owner, name),
            Err(_) => futures::stream::empty().boxed(),
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

    /// The ready workspace behind `target`. With the DevServer running this asks nothing of the API server.
    async fn ensure(
        &self,
        identity: &Identity,
        target: &Target,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Workspace, Error> {
        let mut generation = None;
        for _ in 0..MAX_TURNS {
            // Each time: what is shared may be taken back meanwhile.
            let place = self.place(identity, target)?;
            let (user, name) = (place.owner, place.name);
            if place.access == Access::Guest && self.cache.user(identity.user()).is_none() {
                self.provision_user(identity.user(), progress).await?;
            }
            if let Some(workspace) = self.running(user, name) {
                if !self.settles(user, name).await {
                    continue;
                }
                if place.access == Access::Viewer || !self.is_about_to_sleep(user, name) {
                    return Ok(place.entered(workspace));
                }
                generation = wake::keep_awake(&self.client, user, name).await?;
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
            if let Some(workspace) = self.wait(user, name, generation, progress).await? {
                return Ok(place.entered(workspace));
            }
        }
        Err(Error::NotWoken {
            name: self.name(target).to_owned(),
            message: "it is put to sleep again and again".to_owned(),
        })
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
    fn falls_asleep(&self, user: &str, name: &str) -> bool {
        let is_told =
            |server: &DevServer| server.status.as_ref().is_some_and(|status| status.phase == Phase::Suspended);
        self.cache.devserver(user, name).is_some_and(|server| wake::sleeps(&server) && !is_told(&server))
    }

    /// Whether what is told of it is about its spec as it is. Right after a change its pod may be about to go; an operator
    /// that says nothing for a while is away, and the pod as it was.
    async fn settles(&self, user: &str, name: &str) -> bool {
        let is_settled = || {
            self.cache.devserver(user, name).is_some_and(|server| {
                let observed = server.status.as_ref().and_then(|status| status.observed_generation);
                observed == server.metadata.generation
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

    fn running(&self, user: &str, name: &str) -> Option<Workspace> {
        let server = self.cache.devserver(user, name)?;
        let status = server.status.as_ref().filter(|status| status.phase == Phase::Running)?;
        if server.metadata.deletion_timestamp.is_some() || wake::sleeps(&server) {
            return None;
        }
        Some(Workspace {
            namespace: names::namespace(user),
            devserver: name.to_owned(),
            // The operator names it after its DevServer. Nothing else in the status could lead elsewhere.
            pod: status.pod_name.clone().filter(|pod| pod == name)?,
            pod_uid: status.pod_uid.clone(),
            service_account: names::service_account_username(user),
            on_behalf_of: None,
            agent: status.agent,
        })
    }

    /// Makes her account and all that is around it, if she has none yet.
    pub async fn provide(&self, identity: &Identity) -> Result<(), Error> {
        let user = identity.user();
        let is_ready =
            |object: &DevServerUser| object.status.as_ref().is_some_and(|status| status.phase == UserPhase::Ready);
        let provisioning = self.provisioning_of.entry(user.to_owned()).or_default().clone();
        let _one_at_a_time = provisioning.lock().await;
        match self.cache.user(user) {
            Some(object) if is_ready(&object) => Ok(()),
            _ => self.provision_user(user, &|_| {}).await.map(drop),
        }
    }

    /// Makes all that a first login needs, the default DevServer `name` last.
    async fn provision(&self, user: &str, name: &str, progress: &(dyn Fn(&str) + Send + Sync)) -> Result<(), Error> {
        let began = Instant::now();
        let provisioning = self.provisioning_of.entry(user.to_owned()).or_default().clone();
        let _one_at_a_time = provisioning.lock().await;
        if self.cache.devserver(user, name).is_some() {
            return Ok(());
        }
        let object = self.provision_user(user, progress).await?;
        let server = provisioning::default_devserver(&object, name);
        // Create, never overwrite: another replica may have made it, and its owner changed it.
        match self.devservers(user).create(&PostParams::default(), &server).await {
            Ok(_) => info!(user, devserver = name, elapsed = ?began.elapsed(), "provisioned"),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(Error::Api(error)),
        }
        Ok(())
    }

    /// Makes her namespace and her rights.
    async fn provision_user(
        &self,
        user: &str,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<DevServerUser, Error> {
        progress("setting up your namespace");
        let object = match self.cache.user(user) {
            Some(object) => object,
            None => Arc::new(self.create_user(user).await?),
        };
        let object = self.cache.with_teams(&object);
        provisioning::ensure_user(&self.client, &object, &self.provisioning, progress).await?;
        Ok(object)
    }

    /// A user known only by a key file gets an object, so that the operator and administrators see her.
    async fn create_user(&self, user: &str) -> Result<DevServerUser, Error> {
        let object = DevServerUser {
            metadata: ObjectMeta { name: Some(user.to_owned()), ..ObjectMeta::default() },
            spec: DevServerUserSpec::default(),
            status: None,
        };
        // An empty spec of our own: applying it takes nothing away from whoever fills it in meanwhile.
        let users: Api<DevServerUser> = Api::all(self.client.clone());
        users.patch(user, &PatchParams::apply(names::FIELD_MANAGER), &Patch::Apply(&object)).await.map_err(Error::Api)
    }

    /// Waits until DevServer `name` runs as its spec's `generation` has it, telling what it waits for; `None` if it was
    /// deleted or suspended meanwhile.
    async fn wait(
        &self,
        user: &str,
        name: &str,
        generation: Option<i64>,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Option<Workspace>, Error> {
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
                    return Err(Error::Failed { name: name.to_owned(), message });
                }
            }
            progress(&message);
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                // The watches end with a shutdown only.
                Ok(Err(_)) | Err(_) => return Err(Error::TimedOut { name: name.to_owned(), message }),
            }
        }
    }

    fn devservers(&self, user: &str) -> Api<DevServer> {
        Api::namespaced(self.client.clone(), &names::namespace(user))
    }
}
