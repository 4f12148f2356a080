//! `DevServerFlavor`: a size that administrators offer.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{TimeSpan, Volume};

/// A size of DevServers: what the pod may use and where it may run.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "devserver.io",
    version = "v1",
    kind = "DevServerFlavor",
    doc = "A size of DevServers that administrators offer: what the pod may use and where it may run.",
    plural = "devserverflavors",
    shortname = "dsf",
    status = "DevServerFlavorStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Default","type":"boolean","jsonPath":".spec.default"}"#,
    printcolumn = r#"{"name":"CPU","type":"string","jsonPath":".spec.resources.limits.cpu"}"#,
    printcolumn = r#"{"name":"Memory","type":"string","jsonPath":".spec.resources.limits.memory"}"#,
    printcolumn = r#"{"name":"Devices","type":"string","jsonPath":".status.devices"}"#,
    printcolumn = r#"{"name":"Schedulable","type":"string","jsonPath":".status.schedulable"}"#,
    printcolumn = r#"{"name":"Free","type":"integer","jsonPath":".status.free"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DevServerFlavorSpec {
    /// Requests and limits of the pod's container, GPUs included (`nvidia.com/gpu` and the like).
    #[schemars(schema_with = "resources")]
    #[x_kube(validation = Rule::new(WHOLE_DEVICES).message("devices such as nvidia.com/gpu are counted in whole numbers"))]
    #[x_kube(validation = Rule::new(DEVICES_LIMITED)
        .message("devices such as nvidia.com/gpu belong in limits; what requests say of them has to be the same"))]
    #[x_kube(validation = Rule::new(NO_MORE_THAN_LIMITS).message("no request can be above its limit"))]
    pub resources: ResourceRequirements,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Name of the RuntimeClass that runs the pod, such as a sandboxed one. Default: the cluster's own runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub runtime_class_name: Option<String>,
    /// The longest that a DevServer of this flavor may run after it was made or resumed, such as `24h`; then it is
    /// suspended. Default: the operator's `operator.lifecycle.max_time_to_live`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<TimeSpan>,
    /// Who may use it, by the names of their DevServerUsers. Every user can read the list. Default: everybody. A pod
    /// that runs goes on when its owner is taken from the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 59)))]
    pub allowed_users: Vec<String>,
    /// Claims to mount in each DevServer of this flavor, such as data that all share: at most 16, each path once. A
    /// claim is looked for in the DevServer's own namespace. A DevServer's own volume wins at the same path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".to_owned()]))]
    pub volumes: Vec<Volume>,
    /// Whether DevServers that name no flavor get this one. Where several say so, the first by name is taken.
    #[serde(default)]
    pub default: bool,
}

/// Kubernetes' own, with amounts that can be read, and so few of them that the API server can afford to look at each.
fn resources(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = ResourceRequirements::json_schema(generator);
    for field in ["requests", "limits"] {
        if let Some(amounts) = schema.pointer_mut(&format!("/properties/{field}")) {
            amounts["maxProperties"] = 10.into();
            amounts["additionalProperties"] = generator.subschema_for::<Quantity>().into();
            amounts["additionalProperties"]["x-kubernetes-validations"] =
                json!([{ "rule": READABLE, "message": "an amount is a quantity such as 4, 500m or 8Gi" }]);
        }
    }
    schema
}

/// What an amount is: a number or a quantity, and no less than nothing.
pub(super) const READABLE: &str =
    "type(self) == int ? self >= 0 : isQuantity(self) && !quantity(self).isLessThan(quantity('0'))";

const WHOLE_DEVICES: &str = "!has(self.limits) || self.limits.all(name, !name.contains('/') || \
    type(self.limits[name]) == int || !isQuantity(self.limits[name]) || quantity(self.limits[name]).isInteger())";

/// Kubernetes' demand of what cannot be given to several at a time.
const DEVICES_LIMITED: &str = "!has(self.requests) || self.requests.all(name, !name.contains('/') || \
    has(self.limits) && name in self.limits && self.limits[name] == self.requests[name])";

/// Each may be a number or a quantity.
const NO_MORE_THAN_LIMITS: &str = "!has(self.requests) || !has(self.limits) || \
    self.requests.all(name, !(name in self.limits) || \
    !(type(self.requests[name]) == int ? quantity('0').add(self.requests[name]) : quantity(self.requests[name]))\
    .isGreaterThan(type(self.limits[name]) == int ? quantity('0').add(self.limits[name]) : quantity(self.limits[name])))";

/// Whether there is room for one more DevServer of a flavor. The operator keeps it current as nodes and pods come and
/// go.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DevServerFlavorStatus {
    /// Whether one more would find a node.
    #[serde(default)]
    pub schedulable: Schedulable,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many more fit on the nodes that are there. Pods that wait for a node are not counted against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i32>,
    /// The GPUs and other devices that it has, as `2 nvidia.com/gpu`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<String>,
    /// The spec's generation that this status tells about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Default`: DevServers that name no flavor get this one. Only of a flavor whose spec says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// Whether one more DevServer would find a node.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Schedulable {
    /// Yes: at least one fits.
    Yes,
    /// No node has room, or none is of the kind.
    No,
    /// No node has room, but the cluster adds nodes when pods wait for them.
    Autoscaled,
    /// The nodes are not known yet, or cannot be seen. The reason tells.
    #[default]
    Unknown,
}

/// Whether a resource is a GPU or the like, whatever its kind: its name has a domain. Such are counted in pieces, none
/// of which is shared.
pub fn is_device(resource: &str) -> bool {
    resource.contains('/')
}

impl DevServerFlavor {
    /// GPUs and the like, as `2 nvidia.com/gpu`.
    pub fn devices(&self) -> Option<String> {
        let limits = self.spec.resources.limits.iter().flatten();
        let devices = limits.filter(|(name, _)| is_device(name)).map(|(name, amount)| format!("{} {name}", amount.0));
        Some(devices.collect::<Vec<_>>().join(", ")).filter(|devices| !devices.is_empty())
    }
}
