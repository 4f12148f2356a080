//! Does what sessions and forwards ask for in a workspace that is ready: again where its pod or the cluster was away.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tracing::debug;

use super::carriers::Held;
use super::exec;
use super::listeners::Listener;
use super::memory::Words;
use super::process::{self, ExecKeepalive, Way, carried};
use super::share::Access;
use super::{Address, Command, Error, Process, Progress, Target, Workspace, Workspaces};
use crate::carrier::Stream;
use crate::identity::Identity;
use crate::telemetry::chain;

/// How long a pod that the cache calls running may refuse programs: the cache is late, or it is being replaced.
const STALE: Duration = Duration::from_secs(20);
/// How long an API server may be away before a login gives up.
const OUTAGE: Duration = Duration::from_secs(30);
/// An API server that just started, or that another one's role binding has not reached, refuses for so long at most.
const RIGHTS_HEARD: Duration = Duration::from_secs(5);
/// A right that a guest has just been given takes so long at most, by way of the operator.
const SHARE_HEARD: Duration = Duration::from_secs(10);

impl Workspaces {
    /// Runs `command` in the workspace that `target` names, which is made or woken first.
    /// `progress` is told, in words for the user, what it waits for.
    pub async fn start(
        &self,
        identity: &Identity,
        target: &Target,
        command: &Command,
        progress: Progress<'_>,
    ) -> Result<Process, Error> {
        let (data, ping) = (self.config.exec_keepalive, self.config.exec_ping);
        let keepalive = ExecKeepalive { data, ping, answered: exec::ANSWERED };
        let place = self.place(identity, target)?;
        let (command, words, access) = (&place.admit(command)?, &Words::of(&place), place.access);
        let start = |workspace: Workspace| {
            let start = async move {
                match workspace.agent {
                    true => {
                        let agent = self.carriers.of(&workspace).await?;
                        let (carriers, cache) = (self.carriers.clone(), self.cache.clone());
                        let way = Some(Way { carriers, cache, workspace });
                        carried::start(&agent, command, words, way).await
                    }
                    false => process::start(&self.client, &workspace, command, keepalive, &self.tasks).await,
                }
            };
            start.boxed()
        };
        self.enter(identity, target, access, progress, start).await
    }

    /// Connects to `address` from within the workspace that `target` names, which is made or woken first.
    pub async fn connect(&self, identity: &Identity, target: &Target, address: &Address) -> Result<Stream, Error> {
        let access = self.place(identity, target)?.admit_work()?;
        let connect = |workspace| async move { self.agent(&workspace).await?.connect(address).await }.boxed();
        self.enter(identity, target, access, &|_| {}, connect).await
    }

    /// Listens at `address` within the workspace that `target` names, which is made or woken first. `progress` is told
    /// what it waits for.
    pub async fn listen(
        &self,
        identity: &Identity,
        target: &Target,
        address: &Address,
        progress: Progress<'_>,
    ) -> Result<Listener, Error> {
        let access = self.place(identity, target)?.admit_work()?;
        let listen = |workspace| async move { self.agent(&workspace).await?.listen(address).await }.boxed();
        self.enter(identity, target, access, progress, listen).await
    }

    /// Listens there again once it runs. A listener that is left open is no reason to wake what was put to sleep.
    pub async fn listen_again(
        &self,
        identity: &Identity,
        target: &Target,
        address: &Address,
    ) -> Result<Listener, Error> {
        let mut changes = self.cache.changes();
        loop {
            let place = self.place(identity, target)?;
            place.admit_work()?;
            if let Some(workspace) = self.running(place.owner, place.name) {
                return self.agent(&place.entered(workspace)).await?.listen(address).await;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await; // The watches end with a shutdown only.
            }
        }
    }

    pub(super) async fn agent(&self, workspace: &Workspace) -> Result<Held, Error> {
        if workspace.agent { self.carriers.of(workspace).await } else { Err(Error::NoAgent) }
    }

    /// Does `work`, for which she was admitted with this `access`, in a workspace that is ready, again while its pod is
    /// being replaced or the cluster is away.
    async fn enter<'a, T>(
        &self,
        identity: &Identity,
        target: &Target,
        access: Access,
        progress: Progress<'_>,
        work: impl Fn(Workspace) -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        // An API server that was away refuses when it comes back, which is no reason to wait less for either.
        let (mut failing_since, mut refused_since) = (None, None);
        let mut entered = None;
        loop {
            let workspace = self.ensure(identity, target, access, progress).await?;
            if entered.replace(workspace.pod_uid.clone()).is_some_and(|last| last != workspace.pod_uid) {
                failing_since = None; // Another pod, another try.
            }
            let pod = workspace.pod.clone();
            let error = match work(workspace).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let (since, patience, words) = match &error {
                error if error.pod_is_gone() => (&mut failing_since, STALE, "the pod is being replaced"),
                error if error.node_is_away() => {
                    (&mut failing_since, OUTAGE, "your pod's node does not answer; trying again")
                }
                error if error.is_outage() => (&mut failing_since, OUTAGE, "the cluster does not answer; trying again"),
                Error::Refused { code: 403, .. } => {
                    let patience = if matches!(target, Target::Shared { .. }) { SHARE_HEARD } else { RIGHTS_HEARD };
                    (&mut refused_since, patience, "waiting for your permissions to take effect")
                }
                _ => return Err(error),
            };
            if since.get_or_insert_with(Instant::now).elapsed() > patience {
                return Err(error);
            }
            progress(words);
            debug!(error = chain(&error), pod, "failed to enter the pod; trying again");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Returns once nothing of sessions that are over is left to be told to pods: to be awaited by a drain.
    pub async fn settled(&self) {
        self.tasks.wait().await;
        self.carriers.settled().await;
    }
}
