//! All that a cluster has of ours, without what differs from one cluster to the next: identities, revisions, times.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LimitRange, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use super::deeds::of;
use super::model::Model;
use crate::api::{DevServer, DevServerFlavor, DevServerTeam, DevServerUser};

pub(super) struct Snapshot {
    /// By kind, namespace and name.
    objects: BTreeMap<String, Value>,
    /// Whether something was written, though it may be the same as before.
    pub(super) versions: BTreeMap<String, String>,
}

impl Snapshot {
    /// A home outlives its server, so those that `model` does not need are left out.
    pub(super) async fn take(client: &Client, model: &Model) -> Self {
        let mut snapshot = Self { objects: BTreeMap::new(), versions: BTreeMap::new() };
        for kind in kinds() {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
            for object in api.list(&ListParams::default()).await.unwrap() {
                let namespace = object.namespace().unwrap_or_default();
                let name = object.name_any();
                let is_kept_home = kind.kind == "PersistentVolumeClaim"
                    && name.strip_suffix("-home").is_some_and(|server| !is_awake(model, &namespace, server));
                let is_ours = match kind.kind.as_str() {
                    "Namespace" => name.starts_with("dev-"),
                    // Made for members, after what people made for the team.
                    "PersistentVolume" => name.contains('.'),
                    _ => kind.group == "devserver.io" || namespace.starts_with("dev-"),
                };
                if is_ours && !is_kept_home {
                    let key = format!("{} {namespace}/{name}", kind.kind);
                    snapshot.versions.insert(key.clone(), object.resource_version().unwrap_or_default());
                    snapshot.objects.insert(key, normal(&object));
                }
            }
        }
        snapshot
    }

    pub(super) fn changed_since(&self, before: &Self) -> String {
        let changed = self.versions.iter().filter(|(key, version)| before.versions.get(*key) != Some(version));
        changed.map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn kinds() -> Vec<ApiResource> {
    vec![
        of::<Namespace>(),
        of::<ServiceAccount>(),
        of::<ResourceQuota>(),
        of::<LimitRange>(),
        of::<NetworkPolicy>(),
        of::<Role>(),
        of::<RoleBinding>(),
        of::<PersistentVolume>(),
        of::<PersistentVolumeClaim>(),
        of::<Pod>(),
        of::<DevServerUser>(),
        of::<DevServerTeam>(),
        of::<DevServerFlavor>(),
        of::<DevServer>(),
    ]
}

fn is_awake(model: &Model, namespace: &str, name: &str) -> bool {
    model.server(namespace, name).is_some_and(|spec| spec["lifecycle"]["suspended"] != true)
}

fn normal(object: &DynamicObject) -> Value {
    let mut whole = serde_json::to_value(object).unwrap();
    let own = &object.metadata;
    let owners: Vec<Value> = own
        .owner_references
        .iter()
        .flatten()
        .map(|owner| json!({ "kind": owner.kind, "name": owner.name, "controller": owner.controller }))
        .collect();
    let mut annotations = own.annotations.clone();
    // A pod keeps the limit with which its flavor was made.
    annotations.iter_mut().for_each(|all| drop(all.remove("devserver.io/time-limit")));
    whole["metadata"] = json!({
        "labels": own.labels, "annotations": annotations, "owners": owners, "finalizers": own.finalizers,
        "goes": own.deletion_timestamp.is_some(),
    });
    let kind = whole["kind"].as_str().unwrap_or_default().to_owned();
    let behind = own.generation != whole["status"]["observedGeneration"].as_i64();
    match kind.as_str() {
        // The kubelet's, the quota controller's, the volume controller's.
        "Pod" | "ResourceQuota" | "PersistentVolumeClaim" => drop(whole.as_object_mut().unwrap().remove("status")),
        "PersistentVolume" => without(&mut whole["spec"]["claimRef"], &["uid"]),
        "DevServer" | "DevServerUser" => whole["behind"] = json!(behind),
        // Of a team that never had a volume nothing is told.
        "DevServerTeam" if whole["spec"]["volume"].is_null() => drop(whole.as_object_mut().unwrap().remove("status")),
        "DevServerTeam" => whole["behind"] = json!(behind),
        _ => {}
    }
    if kind == "PersistentVolumeClaim" {
        whole["spec"].as_object_mut().unwrap().remove("volumeName");
    }
    if let Some(status) = whole.get_mut("status").and_then(Value::as_object_mut) {
        // What happened before may be told, and by when something happened.
        for history in ["observedGeneration", "lastEnd", "steps", "podUID", "startTime", "expirationTime"] {
            status.remove(history);
        }
        for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            without(condition, &["lastTransitionTime", "observedGeneration"]);
            without_times(&mut condition["message"]);
        }
        if let Some(message) = status.get_mut("message") {
            without_times(message);
        }
        if let Some(suspension) = status.get_mut("suspension") {
            without(suspension, &["time"]);
        }
    }
    whole
}

fn without(value: &mut Value, keys: &[&str]) {
    let Some(map): Option<&mut Map<String, Value>> = value.as_object_mut() else { return };
    keys.iter().for_each(|key| drop(map.remove(*key)));
}

/// A text may tell since when it is so, to the minute.
fn without_times(text: &mut Value) {
    let Some(words) = text.as_str().map(|text| text.split(' ')) else { return };
    let is_time = |word: &str| {
        word.contains(['-', ':']) && word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':'))
    };
    *text = words.filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ").into();
}

/// Pods that the embedded cluster's node has room for; processor and memory are plenty.
const NODE_TAKES: usize = 110;

/// What is still on its way.
pub(super) fn unsettled(snapshot: &Snapshot, model: &Model) -> Vec<String> {
    let is_there = |key: &str| snapshot.objects.contains_key(key);
    let mut waiting: Vec<String> = Vec::new();
    for wish in &model.wishes {
        let Some(_) = &wish.spec else { continue };
        let key = format!("DevServer {}/{}", wish.namespace, wish.name);
        if wish.kind == super::model::Kind::Server && !is_there(&key) {
            waiting.push(key);
        }
    }
    // It is told every two seconds only.
    let pods = snapshot.objects.keys().filter(|key| key.starts_with("Pod ")).count();
    for (key, object) in &snapshot.objects {
        let phase = object["status"]["phase"].as_str().unwrap_or_default();
        let settled = match object["kind"].as_str().unwrap_or_default() {
            "DevServer" => matches!(phase, "Running" | "Suspended"),
            "DevServerUser" => phase == "Ready",
            "DevServerTeam" if object["spec"]["volume"].is_object() => {
                object["status"]["conditions"][0]["status"] == "True"
            }
            "DevServerFlavor" => object["status"]["free"] == json!(NODE_TAKES - pods),
            _ => true,
        };
        if !settled || object["behind"] == true || object["metadata"]["goes"] == true {
            waiting.push(format!("{key} {phase} {}", object["status"]["message"]));
        }
    }
    waiting
}

/// Each place where `actual` is other than `expected`: + it has more, - it lacks.
pub(super) fn differences(expected: &Snapshot, actual: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for key in expected.objects.keys().chain(actual.objects.keys().filter(|key| !expected.objects.contains_key(*key))) {
        match (expected.objects.get(key), actual.objects.get(key)) {
            (Some(_), None) => found.push(format!("- {key}")),
            (None, Some(_)) => found.push(format!("+ {key}")),
            (Some(expected), Some(actual)) => compare(key, expected, actual, &mut found),
            (None, None) => {}
        }
    }
    found
}

fn compare(path: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(one), Value::Object(other)) => {
            let more = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(more) {
                compare(&format!("{path}.{key}"), &expected[key], &actual[key], found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{path}[{at}]"), one, other, found);
            }
        }
        _ if expected != actual => {
            found.push(format!("- {path}: {expected}"));
            found.push(format!("+ {path}: {actual}"));
        }
        _ => {}
    }
}
