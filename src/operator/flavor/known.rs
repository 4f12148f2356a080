//! All that is known of flavors and of what they run on, and what it comes to. Pure.

use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::super::mirror::Mirror;
use super::amounts::Amounts;
use super::capacity::{Load, Node, capacity, used};
use super::node_pool::NodePool;
use super::status::{Observed, status, unseen};
use crate::api::{DevServerFlavor, DevServerFlavorStatus};

#[derive(Default)]
pub(super) struct Known {
    pub(super) flavors: Mirror<DevServerFlavor>,
    pub(super) nodes: Mirror<Node>,
    pub(super) pods: Mirror<Load>,
    /// Karpenter's; never whole where it is not installed.
    pub(super) pools: Mirror<NodePool>,
    /// Whether something that cannot be seen adds nodes when pods wait for them.
    pub(super) adds_nodes: bool,
}

impl Known {
    /// The flavors whose status is not what it should be, with what it should be; none until all is known, or is known
    /// not to be seen `at` that moment.
    pub(super) fn changed_statuses(
        &self,
        by_default: &Amounts,
        now: &Time,
        at: Instant,
    ) -> Vec<(DevServerFlavor, DevServerFlavorStatus)> {
        let Self { flavors, nodes, pods, pools, adds_nodes } = self;
        let everybodys = flavors.values().filter(|flavor| flavor.spec.default && flavor.spec.allowed_users.is_empty());
        let default = everybodys.map(ResourceExt::name_any).min();
        if nodes.is_blind(at) || pods.is_blind(at) {
            return changed(flavors, |flavor| unseen(flavor, default.as_deref(), now));
        }
        if !flavors.is_whole() || !nodes.is_whole() || !pods.is_whole() {
            return Vec::new();
        }
        let used = used(pods.values());
        let pools: Vec<&NodePool> = pools.values().collect();
        let new = |flavor: &DevServerFlavor| {
            let capacity = capacity(&flavor.spec, by_default, nodes.values(), &used);
            let observed = Observed { capacity, pools: &pools, adds_nodes: *adds_nodes, default: default.as_deref() };
            status(flavor, &observed, now)
        };
        changed(flavors, new)
    }

    /// Whether it is to be looked again although nothing is heard: of a watch that runs again nobody tells.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.nodes.is_failing() || self.pods.is_failing()
    }
}

fn changed(
    flavors: &Mirror<DevServerFlavor>,
    new: impl Fn(&DevServerFlavor) -> DevServerFlavorStatus,
) -> Vec<(DevServerFlavor, DevServerFlavorStatus)> {
    let with_status = flavors.values().map(|flavor| (flavor.clone(), new(flavor)));
    with_status.filter(|(flavor, status)| flavor.status.as_ref() != Some(status)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::Schedulable;
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn flavor(name: &str, default: bool, gpus: u32) -> DevServerFlavor {
        serde_json::from_value(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServerFlavor",
            "metadata": { "name": name, "generation": 2 },
            "spec": { "default": default, "resources": { "limits": { "nvidia.com/gpu": gpus.to_string() } } }
        }))
        .unwrap()
    }

    fn fill<K: kube::Resource, V>(mirror: &mut Mirror<V>, objects: Vec<K>, keep: impl Fn(K) -> Option<V>) {
        mirror.take(Event::<K>::Init, &keep);
        for object in objects {
            mirror.take(Event::InitApply(object), &keep);
        }
        mirror.take(Event::InitDone, &keep);
    }

    #[test]
    fn a_status_is_written_once_all_is_known_and_only_when_it_changed() {
        let (now, at) = (Time(Timestamp::UNIX_EPOCH), Instant::now());
        let mut known = Known::default();
        fill(&mut known.flavors, vec![flavor("a", true, 2), flavor("b", true, 16)], Some);
        let node: v1::Node = serde_json::from_value(json!({
            "metadata": { "name": "n" },
            "status": {
                "allocatable": { "pods": "10", "nvidia.com/gpu": "8" },
                "conditions": [{ "type": "Ready", "status": "True" }]
            }
        }))
        .unwrap();
        fill(&mut known.nodes, vec![node], |node: v1::Node| Some(Node::of(&node)));
        assert!(known.changed_statuses(&Amounts::default(), &now, at).is_empty(), "the pods are not known");
        fill(&mut known.pods, Vec::<v1::Pod>::new(), |pod: v1::Pod| Load::of(&pod));

        let mut changed = known.changed_statuses(&Amounts::default(), &now, at);
        changed.sort_by_key(|(flavor, _)| flavor.name_any());
        let told: Vec<_> = changed.iter().map(|(_, status)| (status.schedulable, status.free)).collect();
        assert_eq!(told, [(Schedulable::Yes, Some(4)), (Schedulable::No, Some(0))]);
        let is_default = |index: usize| changed[index].1.conditions[0].status.clone();
        assert_eq!((is_default(0), is_default(1)), ("True".to_owned(), "False".to_owned()));

        for (flavor, status) in changed {
            known.flavors.take(Event::Apply(DevServerFlavor { status: Some(status), ..flavor }), &Some);
        }
        let later = Time(Timestamp::from_second(1).unwrap());
        assert!(known.changed_statuses(&Amounts::default(), &later, at).is_empty());

        // Nobody sees the pods any more.
        known.pods.failed(at);
        let minutes = |minutes| at + Duration::from_mins(minutes);
        let told = |known: &Known, at| {
            let statuses = known.changed_statuses(&Amounts::default(), &now, at).into_iter();
            statuses.map(|(_, status)| (status.schedulable, status.free, status.reason.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(told(&known, at), [], "not yet");
        for second in [20, 40, 60, 80] {
            known.pods.failed(at + Duration::from_secs(second));
        }
        assert_eq!(told(&known, at + Duration::from_secs(59)), []);
        let unknown = (Schedulable::Unknown, None, "NodesNotSeen".to_owned());
        assert_eq!(told(&known, at + Duration::from_secs(80)), [unknown.clone(), unknown]);
        assert!(known.is_in_trouble() && told(&known, minutes(3)).is_empty(), "it has failed no more, and runs");
    }

    #[test]
    fn a_default_for_some_is_none_for_all() {
        let now = Time(Timestamp::UNIX_EPOCH);
        let mut known = Known::default();
        let mut hers = flavor("a", true, 0);
        hers.spec.allowed_users = vec!["bob".to_owned()];
        let mut hidden = flavor("c", true, 0);
        hidden.spec.allowed_users = vec!["bob".to_owned()];
        fill(&mut known.flavors, vec![hers, flavor("b", true, 0), hidden, flavor("d", true, 0)], Some);
        fill(&mut known.nodes, Vec::<v1::Node>::new(), |node: v1::Node| Some(Node::of(&node)));
        fill(&mut known.pods, Vec::<v1::Pod>::new(), |pod: v1::Pod| Load::of(&pod));
        let mut all = known.changed_statuses(&Amounts::default(), &now, Instant::now());
        all.sort_by_key(|(flavor, _)| flavor.name_any());
        let told = all.iter().map(|(_, status)| {
            let condition = &status.conditions[0];
            (condition.status.as_str(), condition.reason.as_str())
        });
        let (first, other) = ("FirstByName", "AnotherComesFirst");
        let expected = [("True", "FirstOfTheirs"), ("True", first), ("False", other), ("False", other)];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
