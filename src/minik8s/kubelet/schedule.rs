//! Which pods fit the one node. Pure.

use super::sandbox::claim_of;
use k8s_openapi::{
    api::core::v1::{Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};
use std::collections::BTreeMap;

pub(crate) const NODE: &str = "minik8s";

/// What the node has to offer: its labels, and devices by their resource's name.
pub(super) struct Node {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) devices: BTreeMap<String, u64>,
}

/// Why a pod does not fit, in the scheduler's words. `others` are the pods that run on the node.
pub(super) fn obstacle(
    pod: &Pod,
    node: &Node,
    others: &[Pod],
    is_bound: impl Fn(&str) -> Option<bool>,
) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    for claim in spec.volumes.iter().flatten().filter_map(claim_of) {
        match is_bound(claim) {
            Some(true) => {}
            Some(false) => {
                return Some(unhelped("pod has unbound immediate PersistentVolumeClaims"));
            }
            None => {
                return Some(unhelped(&format!("persistentvolumeclaim \"{claim}\" not found")));
            }
        }
    }
    let selector = spec.node_selector.iter().flatten();
    if !selector.clone().all(|(key, value)| node.labels.get(key) == Some(value)) {
        return Some(unhelped("1 node(s) didn't match Pod's node affinity/selector"));
    }
    for (device, wanted) in devices(spec) {
        let taken: u64 = others.iter().filter_map(|other| devices(other.spec.as_ref()?).remove(&device)).sum();
        if taken + wanted > node.devices.get(&device).copied().unwrap_or(0) {
            return Some(format!(
                "0/1 nodes are available: 1 Insufficient {device}. preemption: 0/1 nodes are available: \
                 1 No preemption victims found for incoming pod."
            ));
        }
    }
    None
}

fn unhelped(why: &str) -> String {
    format!(
        "0/1 nodes are available: {why}. preemption: 0/1 nodes are available: \
         1 Preemption is not helpful for scheduling."
    )
}

fn devices(spec: &PodSpec) -> BTreeMap<String, u64> {
    let mut devices = BTreeMap::new();
    for container in &spec.containers {
        let resources = container.resources.as_ref();
        let limits = resources.and_then(|resources| resources.limits.as_ref());
        for (name, count) in limits.map(devices_of).into_iter().flatten() {
            *devices.entry(name).or_default() += count;
        }
    }
    devices
}

/// The extended resources, such as `nvidia.com/gpu`. Processor and memory are shared by all and never run out here.
pub(super) fn devices_of(resources: &BTreeMap<String, Quantity>) -> BTreeMap<String, u64> {
    let extended = resources.iter().filter(|(name, _)| name.contains('/'));
    // Devices come whole; Kubernetes takes no fraction of one either.
    extended.map(|(name, quantity)| (name.clone(), quantity.0.parse().unwrap_or(0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
    }

    fn gpus(count: u64) -> Pod {
        pod(json!({"containers": [
            {"name": "a", "resources": {"limits": {"nvidia.com/gpu": count.to_string()}}},
        ]}))
    }

    fn obstacle_to(pod: &Pod, others: &[Pod]) -> Option<String> {
        let node = Node {
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            devices: BTreeMap::from([("nvidia.com/gpu".to_owned(), 8)]),
        };
        obstacle(pod, &node, others, |claim| (claim == "home").then_some(true))
    }

    #[test]
    fn devices_run_out() {
        assert_eq!(obstacle_to(&gpus(4), &[gpus(4)]), None);
        let why = obstacle_to(&gpus(4), &[gpus(5)]).unwrap();
        assert!(why.starts_with("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), "{why}");
    }

    #[test]
    fn the_selector_has_to_match() {
        let wants = |zone: &str| pod(json!({"containers": [], "nodeSelector": {"zone": zone}}));
        assert_eq!(obstacle_to(&wants("a"), &[]), None);
        assert!(obstacle_to(&wants("b"), &[]).unwrap().contains("affinity/selector"));
    }

    #[test]
    fn a_claim_has_to_be_there() {
        let wants = |claim: &str| {
            pod(json!({"containers": [], "volumes": [
                {"name": "v", "persistentVolumeClaim": {"claimName": claim}},
            ]}))
        };
        assert_eq!(obstacle_to(&wants("home"), &[]), None);
        assert!(obstacle_to(&wants("no"), &[]).unwrap().contains("\"no\" not found"));
    }
}
