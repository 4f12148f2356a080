//! Desired → actual: DevServers become pods and homes, users become namespaces.
//! Of several operators the holder of a lease works; the others stand by.

mod backoff;
mod children;
mod devserver;
mod fence;
mod flavor;
mod lease;
mod mirror;
mod mirrors;
mod publish;
mod quantity;
mod refused;
mod roles;
mod team;
mod unreadable;
mod uptime;
mod user;
mod watch;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected};
use tokio_util::sync::CancellationToken;

use crate::api::IdleAction;
use crate::provisioning;
use crate::watch::Unreadable;

/// The `[operator]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Image of DevServers that name none.
    pub image: String,
    /// What brings the agent into pods.
    pub agent: AgentConfig,
    /// Size of homes that name none.
    pub home_size: Quantity,
    /// Where homes that say nothing are mounted.
    pub home_mount_path: String,
    /// Group that may write in the home.
    pub home_group: i64,
    /// The uid of programs that may not be root, where the DevServer names none.
    #[serde(deserialize_with = "not_root")]
    pub restricted_uid: i64,
    /// How many DevServers a user may have whose object does not say it; zero: any number.
    pub max_devservers: u32,
    /// How long a pod waits for its volume before it is made all the same.
    #[serde(with = "crate::config::duration")]
    pub volume_wait: Duration,
    /// The first pause before a pod that keeps dying is made anew.
    #[serde(with = "crate::config::duration")]
    pub restart_pause: Duration,
    /// The longest such pause.
    #[serde(with = "crate::config::duration")]
    pub max_restart_pause: Duration,
    /// Whether something other than Karpenter adds nodes when pods wait for them.
    pub adds_nodes: bool,
    /// How often users are provisioned again although nothing was seen to change.
    #[serde(with = "crate::config::duration")]
    pub resync: Duration,
    /// When DevServers sleep.
    pub lifecycle: LifecycleConfig,
    /// Who of several operators works.
    pub lease: LeaseConfig,
}

/// A uid that Kubernetes takes, but root's.
fn not_root<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let uid = i64::deserialize(deserializer)?;
    let is_one = (1..=i32::MAX.into()).contains(&uid);
    let expected = &"a uid from 1 to 2147483647";
    is_one.then_some(uid).ok_or_else(|| D::Error::invalid_value(Unexpected::Signed(uid), expected))
}

/// The `[operator.lifecycle]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifecycleConfig {
    /// For how long a DevServer runs that does not say it; zero: as long as it may.
    #[serde(with = "crate::config::duration")]
    pub time_to_live: Duration,
    /// For how long one may run at most; zero: for ever.
    #[serde(with = "crate::config::duration")]
    pub max_time_to_live: Duration,
    /// How long after its end it is suspended.
    #[serde(with = "crate::config::duration")]
    pub grace: Duration,
    /// After how long without use one is idle that does not say it; zero: never.
    #[serde(with = "crate::config::duration")]
    pub idle_after: Duration,
    /// What then happens to one that does not say it.
    pub idle_action: IdleAction,
    /// How long before it is suspended for being idle that is announced.
    #[serde(with = "crate::config::duration")]
    pub warn_before_idle: Duration,
}

/// The `[operator.agent]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The image that has it; empty for pods without an agent.
    pub image: String,
    /// Where it is in that image.
    pub path: String,
}

/// The `[operator.lease]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    /// Whether there is an election at all.
    pub enabled: bool,
    /// Namespace of the Lease; default: the client's.
    pub namespace: Option<String>,
    /// Name of the Lease.
    pub name: String,
    /// How long a holder that is silent keeps it. Whole seconds.
    #[serde(with = "crate::config::duration")]
    pub duration: Duration,
    /// How often a standby tries to take it.
    #[serde(with = "crate::config::duration")]
    pub retry: Duration,
}

/// Why the operator cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The election's settings make no sense.
    #[error("operator.lease.duration must be at least 3 seconds, not {0:?}")]
    LeaseDuration(Duration),
}

/// Reconciles until `shutdown`, whenever this operator holds the lease; then releases it. `ready` is called the first
/// time. `code_hosts` are those that users' accounts may name.
pub async fn run(
    client: Client,
    config: Config,
    provisioning: provisioning::Config,
    code_hosts: Vec<String>,
    ready: impl FnOnce(),
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let mut ready = Some(ready);
    let lead = |client| {
        if let Some(ready) = ready.take() {
            ready();
        }
        controllers(client, config.clone(), provisioning.clone(), code_hosts.clone())
    };
    if config.lease.enabled {
        lease::run(&client, &config.lease, lead, &shutdown).await
    } else {
        let mut lead = lead;
        shutdown.run_until_cancelled(lead(client.clone())).await;
        Ok(())
    }
}

/// Never ends; dropped, it stops at once and leaves nothing running.
async fn controllers(client: Client, config: Config, provisioning: provisioning::Config, code_hosts: Vec<String>) {
    let requests = provisioning.container_requests.clone();
    let (unreadable, found) = Unreadable::telling();
    tokio::join!(
        // Each on the heap: together they are more than a thread's stack likes to be handed about.
        Box::pin(devserver::run(client.clone(), config.clone(), provisioning.clone(), &unreadable)),
        Box::pin(flavor::run(client.clone(), requests, config.adds_nodes, &unreadable)),
        Box::pin(team::run(client.clone())),
        Box::pin(user::run(client.clone(), config.resync, provisioning, code_hosts, &unreadable)),
        unreadable::tell(client, found),
    );
}

#[cfg(test)]
#[cfg(feature = "embedded")]
mod converge;
#[cfg(test)]
mod tests;
