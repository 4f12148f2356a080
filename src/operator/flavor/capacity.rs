//! How many more pods of a flavor the nodes have room for. Pure.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{self, Pod, Taint, Toleration};

use super::amounts::Amounts;
use crate::api::DevServerFlavorSpec;

/// What matters of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    name: String,
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
    is_ready: bool,
    is_cordoned: bool,
    allocatable: Amounts,
}

/// What matters of a pod that has a node.
#[derive(Clone, Debug)]
pub(super) struct Load {
    node: String,
    requested: Amounts,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Capacity {
    /// How many more fit.
    pub(super) fits: i32,
    /// Nodes with the labels that are asked for.
    pub(super) matching: usize,
    /// Those of them that take pods of this flavor.
    pub(super) willing: usize,
    /// Of each resource that is short on a willing node: on how many, and the most that one of them has at all.
    pub(super) short: BTreeMap<String, Shortage>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shortage {
    pub(super) nodes: usize,
    pub(super) wanted: f64,
    pub(super) largest: f64,
}

impl Node {
    pub(super) fn of(node: &v1::Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            is_ready: ready.is_some_and(|ready| ready.status == "True"),
            is_cordoned: spec.unschedulable == Some(true),
            allocatable: Amounts::of(&status.allocatable.unwrap_or_default()),
        }
    }
}

impl Load {
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let node = pod.spec.as_ref()?.node_name.clone()?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let is_over = matches!(phase, Some("Succeeded" | "Failed"));
        (!is_over).then(|| Self { node, requested: Amounts::of_pod(pod) })
    }
}

/// What all pods together take of each node.
pub(super) fn used<'a>(loads: impl Iterator<Item = &'a Load>) -> HashMap<String, Amounts> {
    let mut used: HashMap<String, Amounts> = HashMap::new();
    for load in loads {
        used.entry(load.node.clone()).or_default().add(&load.requested);
    }
    used
}

pub(super) fn capacity<'a>(
    flavor: &DevServerFlavorSpec,
    by_default: &Amounts,
    nodes: impl Iterator<Item = &'a Node>,
    used: &HashMap<String, Amounts>,
) -> Capacity {
    let mut wanted = Amounts::requested(&flavor.resources, by_default);
    wanted.0.insert("pods".to_owned(), 1.0);
    let nothing = Amounts::default();
    let mut capacity = Capacity::default();
    for node in nodes {
        if !flavor.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value)) {
            continue;
        }
        capacity.matching += 1;
        if !node.is_ready || node.is_cordoned || !tolerates(&flavor.tolerations, &node.taints) {
            continue;
        }
        capacity.willing += 1;
        let used = used.get(&node.name).unwrap_or(&nothing);
        let fits =
            |name: &str, wanted: f64| ((node.allocatable.get(name) - used.get(name)) / wanted + ROUNDING).floor();
        let asked = || wanted.0.iter().filter(|(_, wanted)| **wanted > 0.0);
        let fit = asked().map(|(name, wanted)| fits(name, *wanted)).fold(f64::from(i32::MAX), f64::min);
        // A float becomes the nearest integer there is; a node that has too much on it already has no negative room.
        capacity.fits = capacity.fits.saturating_add(fit.max(0.0) as i32);
        for (name, wanted) in asked().filter(|(name, wanted)| fits(name, **wanted) < 1.0) {
            let shortage = capacity.short.entry(name.clone()).or_default();
            shortage.nodes += 1;
            shortage.wanted = *wanted;
            shortage.largest = shortage.largest.max(node.allocatable.get(name));
        }
    }
    capacity
}

/// Tenths of processors do not add up to the last bit.
const ROUNDING: f64 = 1e-9;

/// Whether `tolerations` cover every one of `taints` that keeps pods away.
pub(super) fn tolerates(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let keeps_away = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    taints.iter().filter(keeps_away).all(|taint| tolerations.iter().any(|toleration| covers(toleration, taint)))
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    let same_value = || match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        _ => text(&toleration.value) == text(&taint.value),
    };
    (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key) && same_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(name: &str, allocatable: Value, extra: Value) -> Node {
        let mut node = json!({
            "metadata": { "name": name, "labels": { "pool": "gpu" } },
            "spec": extra,
            "status": { "allocatable": allocatable, "conditions": [{ "type": "Ready", "status": "True" }] }
        });
        if extra["notReady"] == true {
            node["status"]["conditions"][0]["status"] = json!("Unknown");
        }
        Node::of(&serde_json::from_value(node).unwrap())
    }

    fn gpus(name: &str, count: u32) -> Node {
        node(name, json!({ "pods": "110", "cpu": "8", "nvidia.com/gpu": count.to_string() }), json!({}))
    }

    fn load(node: &str, gpus: u32) -> Load {
        let pod = json!({
            "metadata": {},
            "spec": { "nodeName": node, "containers": [{ "name": "a", "resources": { "limits": { "nvidia.com/gpu": gpus.to_string() } } }] }
        });
        Load::of(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    fn flavor(gpus: u32, more: Value) -> DevServerFlavorSpec {
        let mut flavor = json!({ "resources": { "limits": { "cpu": "100m", "nvidia.com/gpu": gpus.to_string() } } });
        flavor.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(flavor).unwrap()
    }

    fn found(flavor: &DevServerFlavorSpec, nodes: &[Node], loads: &[Load]) -> Capacity {
        capacity(flavor, &Amounts::default(), nodes.iter(), &used(loads.iter()))
    }

    #[test]
    fn what_is_left_on_each_node_is_counted_by_itself() {
        let nodes = [gpus("a", 8), gpus("b", 4)];
        let count = |size, loads: &[Load]| found(&flavor(size, json!({})), &nodes, loads).fits;
        assert_eq!(count(1, &[]), 12);
        assert_eq!(count(4, &[]), 3);
        assert_eq!(count(3, &[]), 3, "two on one node, one on the other");
        assert_eq!(count(4, &[load("a", 1), load("b", 1)]), 1);
        assert_eq!(count(1, &[load("a", 8), load("b", 5)]), 0, "one that has too much has no negative room");
        assert_eq!(count(8, &[load("gone", 8)]), 1);
    }

    #[test]
    fn what_is_short_is_told() {
        let capacity = found(&flavor(8, json!({})), &[gpus("a", 8), gpus("b", 4)], &[load("a", 1)]);
        let shortage = Shortage { nodes: 2, wanted: 8.0, largest: 8.0 };
        assert_eq!(
            capacity,
            Capacity { fits: 0, matching: 2, willing: 2, short: [("nvidia.com/gpu".to_owned(), shortage)].into() }
        );
    }

    #[test]
    fn nodes_that_take_no_such_pod_do_not_count() {
        let taint = json!({ "taints": [{ "key": "gpu", "value": "yes", "effect": "NoSchedule" }] });
        let all = json!({ "cpu": "8", "pods": "10", "nvidia.com/gpu": "1" });
        let nodes = [
            node("tainted", all.clone(), taint),
            node("cordoned", all.clone(), json!({ "unschedulable": true })),
            node("silent", all, json!({ "notReady": true })),
        ];
        let plain = found(&flavor(1, json!({})), &nodes, &[]);
        assert_eq!((plain.fits, plain.matching, plain.willing), (0, 3, 0));
        for toleration in [
            json!({ "key": "gpu", "operator": "Exists" }),
            json!({ "key": "gpu", "value": "yes", "effect": "NoSchedule" }),
            json!({ "operator": "Exists" }),
        ] {
            assert_eq!(found(&flavor(1, json!({ "tolerations": [toleration] })), &nodes, &[]).fits, 1);
        }
        for toleration in [
            json!({ "key": "gpu", "value": "no" }),
            json!({ "key": "gpu", "operator": "Exists", "effect": "NoExecute" }),
        ] {
            assert_eq!(found(&flavor(1, json!({ "tolerations": [toleration] })), &nodes, &[]).fits, 0);
        }
        let elsewhere = found(&flavor(1, json!({ "nodeSelector": { "pool": "cpu" } })), &nodes, &[]);
        assert_eq!((elsewhere.fits, elsewhere.matching), (0, 0));
    }

    #[test]
    fn tenths_of_processors_add_up() {
        let nodes = [node("a", json!({ "cpu": "300m", "pods": "10" }), json!({}))];
        let tenth = serde_json::from_value(json!({ "resources": { "requests": { "cpu": "100m" } } })).unwrap();
        assert_eq!(found(&tenth, &nodes, &[]).fits, 3);
    }
}
