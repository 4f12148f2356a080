//! Keeps the status of each flavor: whether a node has room for one more DevServer of it, and for how many.
//! It watches nodes and pods and remembers little of them; nothing is polled.

mod amounts;
mod capacity;
mod known;
mod node_pool;
#[cfg(test)]
mod quiet;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use self::amounts::Amounts;
use self::known::Known;
use super::backoff::doubled;
use super::mirror::Mirror;
use super::mirrors::Watched;
use crate::api::{DevServerFlavor, names, write_status};
use crate::telemetry::chain;
use crate::watch::{self, Unreadable};

/// Between two looks at everything: in a busy cluster pods come and go all the time.
const PAUSE: Duration = Duration::from_secs(2);
/// Before a status that could not be written is tried again; at first it is `PAUSE`.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
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
            let again = if self.known().is_in_trouble() { TROUBLE_LOOK } else { Duration::MAX };
            let again = refused.next(Instant::now()).map_or(again, |next| again.min(next));
            // Nothing is lost when the time is over: what is notified meanwhile is seen by that look, or by the next.
            let _ = timeout(again, self.changed.notified()).await;
            let changed = self.known().changed_statuses(&by_default, &Time(Timestamp::now()), Instant::now());
            refused.0.retain(|name, _| changed.iter().any(|(flavor, _)| flavor.name_any() == *name));
            for (flavor, status) in changed {
                let name = flavor.name_any();
                if refused.waits(&name, Instant::now()) {
                    continue;
                }
                match write_status(&flavors, names::OPERATOR_FIELD_MANAGER, &name, &status).await {
                    Ok(()) => drop(refused.0.remove(&name)),
                    Err(error) => {
                        let retry_in = refused.again(&name, Instant::now());
                        warn!(flavor = name, error = chain(&error), ?retry_in, "failed to write the flavor's status");
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The flavors whose status could not be written: how often in a row, and when it is tried again.
#[derive(Default)]
struct Refused(HashMap<String, (u32, Instant)>);

impl Refused {
    fn again(&mut self, flavor: &str, now: Instant) -> Duration {
        let (times, at) = self.0.entry(flavor.to_owned()).or_insert((0, now));
        let pause = doubled(PAUSE, LONGEST_PAUSE, *times);
        (*times, *at) = (times.saturating_add(1), now + pause);
        pause
    }

    fn waits(&self, flavor: &str, now: Instant) -> bool {
        self.0.get(flavor).is_some_and(|(_, at)| now < *at)
    }

    /// How long until one of them is tried again.
    fn next(&self, now: Instant) -> Option<Duration> {
        self.0.values().map(|(_, at)| at.saturating_duration_since(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_refused_is_tried_more_and_more_seldom() {
        let (mut refused, mut now) = (Refused::default(), Instant::now());
        assert_eq!((refused.next(now), refused.waits("a", now)), (None, false));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let pause = refused.again("a", now);
            assert!(refused.waits("a", now) && !refused.waits("b", now));
            assert_eq!(refused.next(now), Some(pause));
            now += pause;
            assert!(!refused.waits("a", now));
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
        refused.again("b", now);
        assert_eq!(refused.next(now).map(|next| next.as_secs()), Some(0), "the sooner one");
    }
}
