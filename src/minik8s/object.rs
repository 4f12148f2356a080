//! Reading and writing the fields every Kubernetes object has, on plain JSON.

use serde_json::{Map, Value, json};

pub(super) fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

pub(super) fn namespace(object: &Value) -> &str {
    text(&object["metadata"]["namespace"])
}

pub(super) fn uid(object: &Value) -> &str {
    text(&object["metadata"]["uid"])
}

pub(super) fn revision(object: &Value) -> &str {
    text(&object["metadata"]["resourceVersion"])
}

/// The `name` of a part, such as a container.
pub(super) fn name_field(part: &Value) -> &str {
    text(&part["name"])
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Nothing holds a deleted object back any more: it may go.
pub(super) fn is_finalized(object: &Value) -> bool {
    let metadata = &object["metadata"];
    is_terminating(object)
        && is_empty(&metadata["finalizers"])
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && (object["kind"] != "Namespace" || is_empty(&object["spec"]["finalizers"]))
}

pub(super) fn owners(object: &Value) -> &[Value] {
    list(&object["metadata"]["ownerReferences"])
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    list(&object["metadata"]["finalizers"]).iter().any(|held| held == finalizer)
}

pub(super) fn remove_finalizer(object: &mut Value, finalizer: &str) {
    if let Some(held) = object["metadata"]["finalizers"].as_array_mut() {
        held.retain(|held| held != finalizer);
    }
    if is_empty(&object["metadata"]["finalizers"]) {
        metadata(object).remove("finalizers");
    }
}

pub(super) fn add_finalizer(object: &mut Value, finalizer: &str) {
    if has_finalizer(object, finalizer) {
        return;
    }
    match object["metadata"]["finalizers"].as_array_mut() {
        Some(held) => held.push(json!(finalizer)),
        None => object["metadata"]["finalizers"] = json!([finalizer]),
    }
}

/// The metadata of an object that has passed the API's checks, which see to it that it is a map.
pub(super) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    map(&mut object["metadata"])
}

/// The value as a map, made one if it is not.
pub(super) fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("made a map just above")
}

/// Now, with the precision of Kubernetes' `Time`.
pub(super) fn now() -> Value {
    json!(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

pub(super) fn random_hex(bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", rand::random::<u8>())).collect()
}

pub(super) fn new_uid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn is_empty(value: &Value) -> bool {
    list(value).is_empty()
}

pub(super) fn condition(kind: &str, holds: bool, reason: &str, message: &str) -> Value {
    let mut condition = json!({
        "type": kind,
        "status": if holds { "True" } else { "False" },
        "lastTransitionTime": now(),
    });
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[field] = json!(text);
        }
    }
    condition
}

/// Puts a condition in its place; its time is that of the last change of its status.
pub(super) fn set_condition(status: &mut Value, mut new: Value) {
    let mut conditions = list(&status["conditions"]).to_vec();
    match conditions.iter_mut().find(|old| old["type"] == new["type"]) {
        Some(old) => {
            if old["status"] == new["status"] {
                new["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
    status["conditions"] = json!(conditions);
}
