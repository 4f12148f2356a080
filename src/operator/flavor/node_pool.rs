//! Karpenter's node pools, as far as they tell whether a node would be added for a flavor. What instances a pool would
//! buy is the cloud's knowledge, so the answer is "may".

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Taint;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde::Deserialize;

use super::amounts::Amounts;
use super::capacity::tolerates;
use crate::api::DevServerFlavorSpec;

#[derive(Clone, Debug, Default)]
pub(super) struct NodePool {
    name: String,
    labels: BTreeMap<String, String>,
    requirements: Vec<Requirement>,
    taints: Vec<Taint>,
    /// What its nodes may have together, and have.
    limits: Amounts,
    used: Amounts,
    is_ready: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Requirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

/// As much of the object as is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shape {
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    template: Template,
    limits: BTreeMap<String, Quantity>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    metadata: Metadata,
    spec: TemplateSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateSpec {
    requirements: Vec<Requirement>,
    taints: Vec<Taint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    resources: BTreeMap<String, Quantity>,
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl NodePool {
    pub(super) fn of(pool: &DynamicObject) -> Option<Self> {
        let Shape { spec, status } = serde_json::from_value(pool.data.clone()).ok()?;
        let not_ready = |condition: &Condition| condition.type_ == "Ready" && condition.status == "False";
        Some(Self {
            name: pool.name_any(),
            labels: spec.template.metadata.labels,
            requirements: spec.template.spec.requirements,
            taints: spec.template.spec.taints,
            limits: Amounts::of(&spec.limits),
            used: Amounts::of(&status.resources),
            is_ready: !status.conditions.iter().any(not_ready),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it could add a node for a pod of this flavor.
    pub(super) fn may_add_for(&self, flavor: &DevServerFlavorSpec) -> bool {
        let wanted = Amounts::requested(&flavor.resources, &Amounts::default());
        let is_within = |(name, limit): (&String, &f64)| self.used.get(name) + wanted.get(name) <= *limit;
        self.is_ready
            && flavor.node_selector.iter().all(|(key, value)| self.may_label(key, value))
            && tolerates(&flavor.tolerations, &self.taints)
            && self.limits.0.iter().all(is_within)
    }

    fn may_label(&self, key: &str, value: &str) -> bool {
        if let Some(label) = self.labels.get(key) {
            return label == value;
        }
        let mut of_key = self.requirements.iter().filter(|requirement| requirement.key == key).peekable();
        if of_key.peek().is_none() {
            // Of the node itself, not of the pool.
            return ["kubernetes.io/", "k8s.io/", "karpenter.sh/", "karpenter."]
                .iter()
                .any(|known| key.contains(known));
        }
        of_key.all(|Requirement { operator, values, .. }| {
            let is_listed = || values.iter().any(|one| one == value);
            match operator.as_str() {
                "In" => is_listed(),
                "NotIn" => !is_listed(),
                "DoesNotExist" => false,
                _ => true,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pool(spec: Value, status: Value) -> NodePool {
        let pool = json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": { "name": "gpus" },
            "spec": spec, "status": status
        });
        NodePool::of(&serde_json::from_value(pool).unwrap()).unwrap()
    }

    #[test]
    fn a_pool_that_contradicts_the_flavor_adds_nothing_for_it() {
        let flavor: DevServerFlavorSpec = serde_json::from_value(json!({
            "resources": { "limits": { "nvidia.com/gpu": "4" } },
            "nodeSelector": { "pool": "gpu", "topology.kubernetes.io/zone": "a" },
            "tolerations": [{ "key": "gpu", "operator": "Exists" }]
        }))
        .unwrap();
        let labels = json!({ "labels": { "pool": "gpu" } });
        let with = |template_spec: Value| json!({ "template": { "metadata": labels, "spec": template_spec } });
        let zone = |operator: &str| json!({ "requirements": [{ "key": "topology.kubernetes.io/zone", "operator": operator, "values": ["a"] }] });
        let taint = |key: &str| json!({ "taints": [{ "key": key, "effect": "NoSchedule" }] });
        let may = |spec: Value, status: Value| pool(spec, status).may_add_for(&flavor);
        assert!(may(with(json!({})), json!({})));
        assert!(may(with(zone("In")), json!({})) && !may(with(zone("NotIn")), json!({})));
        assert!(may(with(taint("gpu")), json!({})) && !may(with(taint("other")), json!({})));
        assert!(!may(json!({}), json!({})), "nothing says that its nodes are labelled so");
        assert!(!may(with(json!({})), json!({ "conditions": [{ "type": "Ready", "status": "False" }] })));
        let mut limited = with(json!({}));
        limited["limits"] = json!({ "nvidia.com/gpu": "8" });
        assert!(may(limited.clone(), json!({ "resources": { "nvidia.com/gpu": "4" } })));
        assert!(!may(limited, json!({ "resources": { "nvidia.com/gpu": "5" } })));
    }
}
