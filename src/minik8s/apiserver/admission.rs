//! What Kubernetes fills in and what it refuses, kind by kind; only what the cluster's users would notice.

use super::{pod_security, quota, resources::Resource, status::Refusal};
use crate::minik8s::{
    object,
    store::{Key, Objects},
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

pub(crate) const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
pub(crate) const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";

/// Completes a new object.
pub(super) fn default(resource: &Resource, new: &mut Value) {
    match resource.storage().as_str() {
        "namespaces" => {
            let name = object::name(new).to_owned();
            object::map(&mut new["metadata"]["labels"]).insert("kubernetes.io/metadata.name".to_owned(), json!(name));
            new["spec"] = json!({"finalizers": ["kubernetes"]});
            new["status"] = json!({"phase": "Active"});
        }
        "pods" => {
            let spec = object::map(&mut new["spec"]);
            for (field, value) in [
                ("restartPolicy", json!("Always")),
                ("terminationGracePeriodSeconds", json!(30)),
                ("serviceAccountName", json!("default")),
            ] {
                spec.entry(field).or_insert(value);
            }
            new["status"] = json!({"phase": "Pending"});
        }
        "persistentvolumes" => {
            object::add_finalizer(new, VOLUME_PROTECTION);
            let spec = object::map(&mut new["spec"]);
            spec.entry("volumeMode").or_insert(json!("Filesystem"));
            spec.entry("persistentVolumeReclaimPolicy").or_insert(json!("Retain"));
            new["status"] = json!({"phase": "Available"});
        }
        "persistentvolumeclaims" => {
            object::add_finalizer(new, CLAIM_PROTECTION);
            let spec = object::map(&mut new["spec"]);
            spec.entry("volumeMode").or_insert(json!("Filesystem"));
            spec.entry("storageClassName").or_insert(json!("standard"));
            new["status"] = json!({"phase": "Pending"});
        }
        super::resources::CRDS => {
            let names = new["spec"]["names"].clone();
            let versions = object::list(&new["spec"]["versions"]).iter();
            let stored: Vec<Value> =
                versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone()).collect();
            let condition = |kind: &str, reason: &str| {
                json!({
                    "type": kind,
                    "status": "True",
                    "reason": reason,
                    "message": "",
                    "lastTransitionTime": object::now(),
                })
            };
            new["status"] = json!({
                "acceptedNames": names,
                "storedVersions": stored,
                "conditions": [
                    condition("NamesAccepted", "NoConflicts"),
                    condition("Established", "InitialNamesAccepted"),
                ],
            });
        }
        "secrets" => {
            if let Some(Value::Object(plain)) = object::map(new).remove("stringData") {
                let data = object::map(&mut new["data"]);
                for (key, value) in plain {
                    data.insert(key, json!(base64(object::text(&value))));
                }
            }
            object::map(new).entry("type").or_insert(json!("Opaque"));
        }
        _ => {}
    }
}

/// Refuses a new object that does not fit what is there.
pub(super) fn admit(resource: &Resource, new: &Value, objects: &Objects) -> Result<(), Refusal> {
    let (name, namespace) = (object::name(new), object::namespace(new));
    if resource.namespaced {
        let namespaces = super::resources::built_in_named("namespaces");
        let found = objects
            .get(&Key::new("namespaces", "", namespace))
            .ok_or_else(|| Refusal::not_found(&namespaces, namespace))?;
        if object::is_terminating(found) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            return Err(Refusal::forbidden(resource, name, &why));
        }
    }
    match resource.storage().as_str() {
        "pods" => {
            let account = object::text(&new["spec"]["serviceAccountName"]);
            if objects.get(&Key::new("serviceaccounts", namespace, account)).is_none() {
                let why = format!(
                    "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
                );
                return Err(Refusal::forbidden(resource, name, &why));
            }
            if object::list(&new["spec"]["containers"]).is_empty() {
                return Err(Refusal::invalid(resource, name, "spec.containers", "Required value"));
            }
            let pod = serde_json::from_value::<Pod>(new.clone())
                .map_err(|error| Refusal::bad_request(format!("the pod cannot be decoded: {error}")))?;
            if let Some(why) = pod_security::violated(&pod, objects.get(&Key::new("namespaces", "", namespace))) {
                return Err(Refusal::forbidden(resource, name, &why));
            }
            if let Some(why) = quota::exceeded(namespace, objects) {
                return Err(Refusal::forbidden(resource, name, &why));
            }
        }
        super::resources::CRDS => {
            let spec = &new["spec"];
            let expected = format!("{}.{}", object::text(&spec["names"]["plural"]), object::text(&spec["group"]));
            if name != expected {
                let why = "must be spec.names.plural+\".\"+spec.group";
                return Err(Refusal::invalid(resource, name, "metadata.name", why));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Refuses a change to what is fixed once it is made.
pub(super) fn admit_change(resource: &Resource, old: &Value, new: &Value) -> Result<(), Refusal> {
    let name = object::name(new);
    let refuse = |why: &str| Err(Refusal::invalid(resource, name, "spec", why));
    match resource.storage().as_str() {
        "pods" if fixed_part_of_pod(old) != fixed_part_of_pod(new) => refuse(
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ),
        "persistentvolumeclaims" if fixed_part_of_claim(old) != fixed_part_of_claim(new) => refuse(
            "Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims",
        ),
        _ if role_reference_changed(resource, old, new) => {
            Err(Refusal::invalid(resource, name, "roleRef", "cannot change roleRef"))
        }
        _ => Ok(()),
    }
}

fn role_reference_changed(resource: &Resource, old: &Value, new: &Value) -> bool {
    resource.plural.ends_with("rolebindings") && old["roleRef"] != new["roleRef"]
}

fn fixed_part_of_pod(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    let fields = object::map(&mut spec);
    for field in ["nodeName", "tolerations", "activeDeadlineSeconds"] {
        fields.remove(field);
    }
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        object::map(container).remove("image");
    }
    spec
}

fn fixed_part_of_claim(claim: &Value) -> Value {
    let mut spec = claim["spec"].clone();
    let fields = object::map(&mut spec);
    for field in ["resources", "volumeName", "volumeAttributesClassName"] {
        fields.remove(field);
    }
    spec
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
