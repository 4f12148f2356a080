//! Keeps the status of each flavor: whether a node has room for one more DevServer of it, and for how many.
//! It watches nodes and pods and remembers little of them; nothing is polled.

mod amounts;
mod capacity;
mod invalid;
mod known;
mod node_pool;
#[cfg(test)]
mod quiet;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use self::amounts::Amounts;
use self::known::Known;
use super::mirror::Mirror;
use super::mirrors::Watched;
use super::refused::Refused;
use crate::api::{DevServerFlavor, names, write_status};
use crate::telemetry::chain;
use crate::watch::{self, Unreadable};

/// Between two looks at everything: in a busy cluster pods come and go all the time.
const PAUSE: Duration = Duration::from_secs(2);
/// While a watch fails.
const TROUBLE_LOOK: Duration = Duration::from_secs(30);
/// As the log has it.
const WHAT: &str = "what flavors run on";
const NODE_POOLS: &str = "nodepools.karpenter.sh";

/// Keeps the status of flavors for ever. A container that says nothing requests `by_default`; `adds_nodes` says that
/// something adds nodes when pods wait for them, and that it cannot be seen.
pub(super) async fn run(
    client: Client,
    by_default: BTreeMap<String, Quantity>,
    adds_nodes: bool,
    unreadable: &Unreadable,
) {
    let by_default = Amounts::of(&by_default);
    let watched = Arc::new(Watched::new(Known { adds_nodes, ..Known::default() }));
    let placed = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";
    let pods = watcher::Config::default().fields(placed);
    tokio::join!(
        watched.follow(
            WHAT,
            watch::watch::<DevServerFlavor>(&client, watcher::Config::default(), unreadable),
            |known| &mut known.flavors,
            Some
        ),
        watched.follow(
            WHAT,
            watcher(Api::<Node>::all(client.clone()), watcher::Config::default()).default_backoff(),
            |known| &mut known.nodes,
            |node| Some(capacity::Node::of(&node))
        ),
        watched.follow(
            WHAT,
            watch::watch::<Pod>(&client, pods, &Unreadable::default()),
            |known| &mut known.pods,
            |pod| capacity::Load::of(&pod)
        ),
        watched.clone().follow_node_pools(client.clone()),
        watched.publish(client, by_default),
    );
}

impl Watched<Known> {
    /// Karpenter may be there, come, or go.
    async fn follow_node_pools(self: Arc<Self>, client: Client) {
        let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
        let only = watcher::Config::default().fields(&format!("metadata.name={NODE_POOLS}"));
        let mut events = std::pin::pin!(watcher(definitions, only).default_backoff());
        let mut definition: Mirror<()> = Mirror::default();
        let mut following: Option<AbortOnDropHandle<()>> = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => drop(definition.take(event, &|_| Some(()))),
                Err(error) => debug!(error = chain(&error), "failed to look for Karpenter"),
            }
            match (definition.values().next(), following.is_some()) {
                (Some(()), false) => {
                    let (watched, client) = (self.clone(), client.clone());
                    following = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                        watched.follow_these_pools(client).await;
                    })));
                }
                (None, true) => {
                    following = None;
                    self.known().pools = Mirror::default();
                    self.changed.notify_one();
                }
                _ => {}
            }
        }
    }

    async fn follow_these_pools(&self, client: Client) {
        let kind = ApiResource {
            group: "karpenter.sh".to_owned(),
            version: "v1".to_owned(),
            api_version: "karpenter.sh/v1".to_owned(),
            kind: "NodePool".to_owned(),
            plural: "nodepools".to_owned(),
        };
        let pools: Api<DynamicObject> = Api::all_with(client, &kind);
        let events = watcher(pools, watcher::Config::default()).default_backoff();
        let keep = |pool: DynamicObject| node_pool::NodePool::of(&pool);
        self.follow("Karpenter's node pools", events, |known| &mut known.pools, keep).await;
    }

    /// Writes each status that changed.
    async fn publish(&self, client: Client, by_default: Amounts) {
        let flavors: Api<DevServerFlavor> = Api::all(client);
        let mut refused = Refused::default();
        loop {
            let trouble = self.known().is_in_trouble().then(|| Instant::now() + TROUBLE_LOOK);
            match trouble.into_iter().chain(refused.next()).min() {
                None => self.changed.notified().await,
                // Over is as good as notified: what is notified meanwhile is seen by this look, or by the next.
                Some(again) => drop(timeout_at(again, self.changed.notified()).await),
            }
            let now = Instant::now();
            let changed = self.known().changed_statuses(&by_default, &Time(Timestamp::now()), now.into_std());
            refused.retain(|name| changed.iter().any(|(flavor, _)| flavor.name_any() == name));
            for (flavor, status) in changed {
                let name = flavor.name_any();
                if !refused.is_due(&name, now) {
                    continue;
                }
                match write_status(&flavors, names::OPERATOR_FIELD_MANAGER, &name, &status).await {
                    Ok(()) => refused.forget(&name),
                    Err(error) => {
                        let retry_in = refused.put(name.clone(), error.to_string(), Instant::now());
                        warn!(flavor = name, error = chain(&error), ?retry_in, "failed to write the flavor's status");
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
