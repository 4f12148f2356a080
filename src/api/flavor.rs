//! `DevServerFlavor`: a size that administrators offer.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::Volume;

/// A size of DevServers: what the pod may use and where it may run.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "devserver.io",
    version = "v1",
    kind = "DevServerFlavor",
    plural = "devserverflavors",
    shortname = "dsf",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Default","type":"boolean","jsonPath":".spec.default"}"#,
    printcolumn = r#"{"name":"CPU","type":"string","jsonPath":".spec.resources.limits.cpu"}"#,
    printcolumn = r#"{"name":"Memory","type":"string","jsonPath":".spec.resources.limits.memory"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DevServerFlavorSpec {
    /// Requests and limits of the pod's container, GPUs included (`nvidia.com/gpu` and the like).
    pub resources: ResourceRequirements,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Claims to mount in each DevServer of this flavor, such as data that all share: at most 16, each path once. A claim
    /// is looked for in the DevServer's own namespace. A DevServer's own volume wins at the same path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".to_owned()]))]
    pub volumes: Vec<Volume>,
    /// Whether DevServers that name no flavor get this one. Where several say so, the first by name is taken.
    #[serde(default)]
    pub default: bool,
}
