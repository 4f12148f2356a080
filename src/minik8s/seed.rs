//! What a cluster has from its start.

use super::{
    apiserver::{CRDS, Refusal, put},
    kubelet::NODE,
    store::Store,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

/// Extended resources that the node claims to have. Change its status for others: pods share what the host really has.
const DEVICES: (&str, u64) = ("nvidia.com/gpu", 8);

/// Puts in place what is missing, and the kinds as they are given now.
pub(super) fn plant(store: &Store, crds: Vec<CustomResourceDefinition>) -> Result<(), String> {
    let refused = |refusal: Refusal| refusal.message;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        put(store, "namespaces", json!({"metadata": {"name": name}}), false).map_err(refused)?;
    }
    let class = json!({
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "minik8s/folder",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    });
    put(store, "storageclasses.storage.k8s.io", class, false).map_err(refused)?;
    for crd in crds {
        let crd = serde_json::to_value(crd).map_err(|error| error.to_string())?;
        put(store, CRDS, crd, true).map_err(refused)?;
    }

    put(store, "nodes", json!({"metadata": {"name": NODE}}), false).map_err(refused)?;
    let key = super::store::Key::new("nodes", "", NODE);
    let complete = |node: &mut Value| {
        node["metadata"]["labels"] = json!({
            "kubernetes.io/hostname": NODE,
            "kubernetes.io/os": std::env::consts::OS,
            "kubernetes.io/arch": architecture(),
        });
        if node["status"].is_null() {
            node["status"] = status();
        }
    };
    store.edit(&key, complete).map_err(|error| error.to_string())
}

fn status() -> Value {
    // Processor and memory are the host's, shared by all, and no pod is refused for want of them.
    let capacity = json!({
        "cpu": "1k",
        "memory": "4Ti",
        "ephemeral-storage": "4Ti",
        "pods": "110",
        (DEVICES.0): DEVICES.1.to_string(),
    });
    json!({
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "it is this very process",
            "lastTransitionTime": super::object::now(),
        }],
        "nodeInfo": {
            "kubeletVersion": concat!("minik8s-", env!("CARGO_PKG_VERSION")),
            "operatingSystem": std::env::consts::OS,
            "architecture": architecture(),
        },
    })
}

/// As Go, and so Kubernetes, calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
