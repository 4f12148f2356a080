//! What to tell of a flavor. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::capacity::{Capacity, Shortage};
use super::invalid::invalid;
use super::node_pool::NodePool;
use crate::api::{DevServerFlavor, DevServerFlavorStatus, Schedulable, conditions};

/// What is seen of a flavor.
pub(super) struct Observed<'a> {
    pub(super) capacity: Capacity,
    pub(super) pools: &'a [&'a NodePool],
    /// Whether something that cannot be seen adds nodes.
    pub(super) adds_nodes: bool,
    /// The flavor of DevServers that name none, but for those whose owner has one of her own.
    pub(super) default: Option<&'a str>,
}

/// What is told of `flavor` while nobody can see what it runs on.
pub(super) fn unseen(flavor: &DevServerFlavor, default: Option<&str>, now: &Time) -> DevServerFlavorStatus {
    DevServerFlavorStatus {
        schedulable: Schedulable::Unknown,
        reason: Some("NodesNotSeen".to_owned()),
        message: Some("the operator cannot see the cluster's nodes or pods; its log tells why".to_owned()),
        free: None,
        devices: flavor.devices(),
        observed_generation: flavor.metadata.generation,
        conditions: conditions_of(flavor, default, now),
    }
}

pub(super) fn status(flavor: &DevServerFlavor, observed: &Observed<'_>, now: &Time) -> DevServerFlavorStatus {
    let invalid = invalid(&flavor.spec);
    let free = if invalid.is_some() { 0 } else { observed.capacity.fits };
    let (schedulable, reason, message) = match invalid {
        Some(what) => (Schedulable::No, "InvalidResources", what),
        None => verdict(flavor, observed),
    };
    DevServerFlavorStatus {
        schedulable,
        reason: Some(reason.to_owned()),
        message: Some(message),
        free: Some(free),
        devices: flavor.devices(),
        observed_generation: flavor.metadata.generation,
        conditions: conditions_of(flavor, observed.default, now),
    }
}

/// `default`: the first by name of those default flavors that everybody may use. One that comes before it is for some
/// alone.
fn conditions_of(flavor: &DevServerFlavor, default: Option<&str>, now: &Time) -> Vec<Condition> {
    let mut all = flavor.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    all.retain(|condition| condition.type_ != conditions::DEFAULT || flavor.spec.default);
    if !flavor.spec.default {
        return all;
    }
    let earlier = default.filter(|default| *default < flavor.name_any().as_str());
    let (reason, message) = match earlier {
        Some(default) => ("AnotherComesFirst", format!("{default} is the default too, and the first by name is taken")),
        None if flavor.spec.allowed_users.is_empty() => {
            ("FirstByName", "DevServers that name no flavor get this one".to_owned())
        }
        None => ("FirstOfTheirs", "DevServers of its allowedUsers that name no flavor get this one".to_owned()),
    };
    let (is_taken, generation) = (earlier.is_none(), flavor.metadata.generation);
    let condition = conditions::condition(conditions::DEFAULT, is_taken, reason, &message, generation, now.clone());
    conditions::set(&mut all, condition);
    all
}

fn verdict(flavor: &DevServerFlavor, observed: &Observed<'_>) -> (Schedulable, &'static str, String) {
    let Observed { capacity, pools, adds_nodes, default: _ } = observed;
    if capacity.fits > 0 {
        return (Schedulable::Yes, "RoomLeft", format!("{} more fit", capacity.fits));
    }
    let (reason, message) = obstacle(flavor, capacity);
    let pool = pools.iter().find(|pool| pool.may_add_for(&flavor.spec));
    match pool {
        Some(pool) => {
            let message = format!("{message}; Karpenter may add one (node pool {})", pool.name());
            (Schedulable::Autoscaled, "NodesAreAdded", message)
        }
        None if *adds_nodes => {
            (Schedulable::Autoscaled, "NodesAreAdded", format!("{message}; the cluster may add one"))
        }
        None => (Schedulable::No, reason, message),
    }
}

/// Why none fits on what is there.
fn obstacle(flavor: &DevServerFlavor, capacity: &Capacity) -> (&'static str, String) {
    if capacity.matching == 0 {
        let labels: Vec<String> =
            flavor.spec.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        return match labels.is_empty() {
            true => ("NoNode", "the cluster has no node".to_owned()),
            false => ("NoSuchNode", format!("no node has the labels {}", labels.join(", "))),
        };
    }
    if capacity.willing == 0 {
        let which = if capacity.matching == 1 { "the node of this kind" } else { "every node of this kind" };
        let message = format!("{which} is not ready, is cordoned, or has a taint that the flavor does not tolerate");
        return ("NodesUnwilling", message);
    }
    let too_large = capacity
        .short
        .iter()
        .find(|(_, shortage)| shortage.nodes == capacity.willing && shortage.largest < shortage.wanted);
    if let Some((name, Shortage { wanted, largest, .. })) = too_large {
        let (wanted, largest) = (amount(name, *wanted), amount(name, *largest));
        return (
            "TooLarge",
            format!("no node is large enough: it takes {wanted} {name}, and the most that one has is {largest}"),
        );
    }
    let short: Vec<String> =
        capacity.short.iter().map(|(name, shortage)| format!("{name} on {}", shortage.nodes)).collect();
    let nodes = if capacity.willing == 1 { "the one node" } else { "every node" };
    ("NoRoom", format!("{nodes} of this kind is full ({})", short.join(", ")))
}

/// Bytes are told in Gi, all else as it is.
fn amount(resource: &str, amount: f64) -> String {
    const GIBIBYTE: f64 = 1024.0 * 1024.0 * 1024.0;
    match resource {
        "memory" | "ephemeral-storage" => format!("{}Gi", (amount / GIBIBYTE * 10.0).round() / 10.0),
        _ => format!("{amount}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DevServerFlavorSpec;
    use jiff::Timestamp;
    use kube::api::DynamicObject;
    use serde_json::json;

    fn told(capacity: Capacity, pools: &[&NodePool], adds_nodes: bool) -> (Schedulable, String, String) {
        let selector =
            if capacity.matching == 0 { [("pool".to_owned(), "gpu".to_owned())].into() } else { Default::default() };
        let flavor = DevServerFlavor::new("a", DevServerFlavorSpec { node_selector: selector, ..Default::default() });
        let observed = Observed { capacity, pools, adds_nodes, default: None };
        let status = status(&flavor, &observed, &Time(Timestamp::UNIX_EPOCH));
        (status.schedulable, status.reason.unwrap(), status.message.unwrap())
    }

    fn short(nodes: usize, wanted: f64, largest: f64) -> Capacity {
        let shortage = Shortage { nodes, wanted, largest };
        Capacity { fits: 0, matching: 2, willing: 2, short: [("nvidia.com/gpu".to_owned(), shortage)].into() }
    }

    #[test]
    fn why_none_fits_is_told() {
        let cases = [
            (
                Capacity { fits: 3, matching: 1, willing: 1, ..Capacity::default() },
                Schedulable::Yes,
                "RoomLeft",
                "3 more fit",
            ),
            (Capacity::default(), Schedulable::No, "NoSuchNode", "no node has the labels pool=gpu"),
            (
                Capacity { matching: 2, ..Capacity::default() },
                Schedulable::No,
                "NodesUnwilling",
                "every node of this kind is not ready, is cordoned, or has a taint that the flavor does not tolerate",
            ),
            (short(2, 1.0, 8.0), Schedulable::No, "NoRoom", "every node of this kind is full (nvidia.com/gpu on 2)"),
            (
                short(2, 16.0, 8.0),
                Schedulable::No,
                "TooLarge",
                "no node is large enough: it takes 16 nvidia.com/gpu, and the most that one has is 8",
            ),
        ];
        for (capacity, schedulable, reason, message) in cases {
            assert_eq!(told(capacity, &[], false), (schedulable, reason.to_owned(), message.to_owned()));
        }
    }

    #[test]
    fn what_no_pod_can_have_has_no_room_anywhere() {
        let spec =
            serde_json::from_value(json!({ "resources": { "limits": { "nvidia.com/gpu": "banana" } } })).unwrap();
        let capacity = Capacity { fits: 3, matching: 1, willing: 1, ..Capacity::default() };
        let observed = Observed { capacity, pools: &[], adds_nodes: true, default: None };
        let status = status(&DevServerFlavor::new("a", spec), &observed, &Time(Timestamp::UNIX_EPOCH));
        assert_eq!((status.schedulable, status.free), (Schedulable::No, Some(0)));
        assert_eq!(status.reason.as_deref(), Some("InvalidResources"));
        assert!(status.message.is_some_and(|message| message.contains("\"banana\" of nvidia.com/gpu")));
    }

    #[test]
    fn where_nodes_are_added_it_is_only_a_matter_of_time() {
        let (schedulable, reason, message) = told(short(2, 1.0, 8.0), &[], true);
        assert_eq!((schedulable, reason.as_str()), (Schedulable::Autoscaled, "NodesAreAdded"));
        assert!(message.ends_with("; the cluster may add one"), "{message}");
        let pool: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": { "name": "gpus" }, "spec": {}
        }))
        .unwrap();
        let pool = NodePool::of(&pool).unwrap();
        let (schedulable, _, message) = told(short(2, 1.0, 8.0), &[&pool], false);
        assert_eq!(schedulable, Schedulable::Autoscaled);
        assert!(message.ends_with("Karpenter may add one (node pool gpus)"), "{message}");
        assert_eq!(told(Capacity { fits: 1, ..Capacity::default() }, &[&pool], true).0, Schedulable::Yes);
    }

    #[test]
    fn devices_of_any_kind_are_told() {
        let devices = |limits: serde_json::Value| {
            let spec = serde_json::from_value(json!({ "resources": { "limits": limits } })).unwrap();
            let observed = Observed { capacity: Capacity::default(), pools: &[], adds_nodes: false, default: None };
            status(&DevServerFlavor::new("a", spec), &observed, &Time(Timestamp::UNIX_EPOCH)).devices
        };
        let told = "1 amd.com/gpu, 2 nvidia.com/mig-1g.5gb";
        let slices = json!({ "cpu": "4", "nvidia.com/mig-1g.5gb": "2", "amd.com/gpu": "1" });
        assert_eq!(devices(slices).as_deref(), Some(told));
        assert_eq!(devices(json!({ "cpu": "4", "memory": "8Gi" })), None);
    }

    #[test]
    fn amounts_are_told_as_people_write_them() {
        assert_eq!(amount("memory", 64.0 * 1024.0 * 1024.0 * 1024.0), "64Gi");
        assert_eq!(amount("cpu", 0.5), "0.5");
    }
}
