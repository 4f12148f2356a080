//! Create, update and patch: what every write has to obey, whichever way it comes.

use super::{
    admission,
    resources::{Resource, built_in_named},
    route::{Query, Route, Verb},
    status::Refusal,
};
use crate::minik8s::{
    object,
    patch::{self, Manager},
    store::{Key, Objects, Store},
};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// The kinds of patch, by their media type.
pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const JSON: &str = "application/json-patch+json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

type Written = Result<(StatusCode, Arc<Value>), Refusal>;

pub(super) fn create(store: &Store, route: &Route, mut new: Value, by: &str) -> Written {
    complete_identity(route, &mut new)?;
    if object::name(&new).is_empty() {
        let prefix = object::text(&new["metadata"]["generateName"]).to_owned();
        if prefix.is_empty() {
            let why = "Required value: name or generateName is required";
            return Err(Refusal::invalid(&route.resource, "", "metadata.name", why));
        }
        new["metadata"]["name"] = json!(prefix + &object::random_hex(3)[..5]);
    }
    let key = Key::new(&route.resource.storage(), &route.namespace, object::name(&new));
    let created = store.write(&key, |objects| {
        if objects.get(&key).is_some() {
            return Err(Refusal::already_exists(&route.resource, &key.name));
        }
        let mut new = begin(&route.resource, new, objects)?;
        patch::track_update(&Value::Null, &mut new, &manager(route, by), route.resource.schema());
        Ok(Some(new))
    })?;
    Ok((StatusCode::CREATED, created))
}

pub(super) fn update(store: &Store, route: &Route, mut new: Value, by: &str) -> Written {
    complete_identity(route, &mut new)?;
    let key = route.key();
    let updated = store.write(&key, |objects| {
        let old = existing(objects, route)?;
        change(route, old, new, by).map(Some)
    })?;
    Ok((StatusCode::OK, updated))
}

pub(super) fn patch(store: &Store, route: &Route, kind: &str, body: &[u8], query: &Query, by: &str) -> Written {
    if kind == APPLY {
        return apply(store, route, body, query);
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let patched = store.write(&route.key(), |objects| {
        let old = existing(objects, route)?;
        let mut new = Value::clone(old);
        match kind {
            MERGE => patch::merge(&mut new, &body),
            STRATEGIC if route.resource.is_custom() => {
                return Err(Refusal::unsupported_media_type(kind));
            }
            STRATEGIC => patch::strategic_merge(&mut new, &body),
            JSON => {
                let steps: json_patch::Patch =
                    serde_json::from_value(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
                json_patch::patch(&mut new, &steps).map_err(|error| {
                    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
                    Refusal::new(invalid, "Invalid", error.to_string())
                })?;
            }
            other => return Err(Refusal::unsupported_media_type(other)),
        }
        complete_identity(route, &mut new)?;
        change(route, old, new, by).map(Some)
    })?;
    Ok((StatusCode::OK, patched))
}

fn apply(store: &Store, route: &Route, body: &[u8], query: &Query) -> Written {
    let by = query.get("fieldManager");
    if by.is_empty() {
        let message =
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
        return Err(Refusal::bad_request(message));
    }
    let mut wanted = parse_yaml(body)?;
    complete_identity(route, &mut wanted)?;
    if !wanted["metadata"]["managedFields"].is_null() {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    // A precondition, not a field: nobody owns it.
    let precondition = object::metadata(&mut wanted).remove("resourceVersion");
    let wanted = through_its_door(route, wanted);
    let (manager, force) = (manager(route, by), query.flag("force"));
    let schema = route.resource.schema();
    let conflicts = |found: Vec<patch::Conflict>| Refusal::apply_conflicts(&route.resource, &route.name, &found);

    let mut code = StatusCode::OK;
    let applied = store.write(&route.key(), |objects| match objects.get(&route.key()) {
        Some(old) => {
            check_revision(route, old, precondition.as_ref().unwrap_or(&Value::Null))?;
            let new = patch::apply(old, &wanted, &manager, force, schema).map_err(conflicts)?;
            settle(route, old, new).map(Some)
        }
        None if route.subresource.is_empty() => {
            code = StatusCode::CREATED;
            // Defaults belong to nobody; only what was applied does.
            let owned = patch::apply(&Value::Null, &wanted, &manager, force, schema).map_err(conflicts)?;
            let mut new = begin(&route.resource, wanted.clone(), objects)?;
            new["metadata"]["managedFields"] = owned["metadata"]["managedFields"].clone();
            Ok(Some(new))
        }
        None => Err(Refusal::not_found(&route.resource, &route.name)),
    })?;
    Ok((code, applied))
}

/// Puts an object of the cluster's own where there is none; `renew`: or in place of the one that is there.
pub(crate) fn put(store: &Store, storage: &str, object: Value, renew: bool) -> Result<(), Refusal> {
    const SELF: &str = "minik8s";
    let mut route = Route {
        verb: Verb::Create,
        resource: built_in_named(storage),
        namespace: object::namespace(&object).to_owned(),
        name: object::name(&object).to_owned(),
        subresource: String::new(),
    };
    match (store.get(&route.key()).is_some(), renew) {
        (true, false) => Ok(()),
        (true, true) => {
            route.verb = Verb::Update;
            update(store, &route, object, SELF).map(drop)
        }
        (false, _) => create(store, &route, object, SELF).map(drop),
    }
}

/// A new object, whole but for the manager's entry.
fn begin(resource: &Resource, mut new: Value, objects: &Objects) -> Result<Value, Refusal> {
    check_name(resource, object::name(&new))?;
    if resource.has_status {
        object::map(&mut new).remove("status");
    }
    let metadata = object::metadata(&mut new);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"] {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), json!(object::new_uid()));
    metadata.insert("creationTimestamp".to_owned(), object::now());
    metadata.insert("generation".to_owned(), json!(1));
    admission::default(resource, &mut new);
    admission::admit(resource, &new, objects)?;
    Ok(new)
}

fn change(route: &Route, old: &Value, new: Value, by: &str) -> Result<Value, Refusal> {
    check_revision(route, old, &new["metadata"]["resourceVersion"])?;
    let uid = object::uid(&new);
    if !uid.is_empty() && uid != object::uid(old) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object::uid(old));
        return Err(Refusal::conflict(&route.resource, &route.name, &why));
    }
    let mut settled = settle(route, old, new)?;
    patch::track_update(old, &mut settled, &manager(route, by), route.resource.schema());
    Ok(settled)
}

/// Lets through only what this door may change, and keeps what the API server owns.
fn settle(route: &Route, old: &Value, mut new: Value) -> Result<Value, Refusal> {
    match route.subresource.as_str() {
        "status" => {
            let mut settled = old.clone();
            settled["metadata"]["managedFields"] = new["metadata"]["managedFields"].take();
            match object::map(&mut new).remove("status") {
                Some(status) => settled["status"] = status,
                None => drop(object::map(&mut settled).remove("status")),
            }
            return Ok(without_nulls(settled));
        }
        "finalize" => {
            let mut settled = old.clone();
            settled["spec"]["finalizers"] = new["spec"]["finalizers"].take();
            return Ok(settled);
        }
        _ => {}
    }
    if route.resource.has_status {
        keep(old, &mut new, "status");
    }
    let old_metadata = &old["metadata"];
    let metadata = &mut new["metadata"];
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
    ] {
        keep(old_metadata, metadata, field);
    }
    if object::is_terminating(old) {
        let fresh = object::list(&metadata["finalizers"])
            .iter()
            .find(|finalizer| !object::list(&old_metadata["finalizers"]).contains(finalizer));
        if fresh.is_some() {
            let why = "Forbidden: no new finalizers can be added if the object is being deleted";
            return Err(Refusal::invalid(&route.resource, &route.name, "metadata.finalizers", why));
        }
    }
    if object::list(&metadata["finalizers"]).is_empty() {
        object::map(metadata).remove("finalizers");
    }
    admission::admit_change(&route.resource, old, &new)?;
    if content(&new) != content(old) {
        let generation = old_metadata["generation"].as_u64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = json!(generation);
    }
    Ok(new)
}

fn keep(old: &Value, new: &mut Value, field: &str) {
    match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => drop(object::map(new).remove(field)),
    }
}

/// What counts as a new generation: all but metadata and status.
fn content(value: &Value) -> Vec<(&String, &Value)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(field, _)| !["metadata", "status"].contains(&field.as_str()))
        .collect()
}

/// An apply through one door says nothing of what is behind the other.
fn through_its_door(route: &Route, mut wanted: Value) -> Value {
    match route.subresource.as_str() {
        "status" => json!({
            "apiVersion": wanted["apiVersion"],
            "kind": wanted["kind"],
            "status": wanted["status"].take(),
        }),
        _ if route.resource.has_status => {
            object::map(&mut wanted).remove("status");
            wanted
        }
        _ => wanted,
    }
}

fn without_nulls(mut value: Value) -> Value {
    if value["metadata"]["managedFields"].is_null() {
        object::metadata(&mut value).remove("managedFields");
    }
    value
}

/// Fills in kind, name and namespace from the path, and refuses others.
fn complete_identity(route: &Route, body: &mut Value) -> Result<(), Refusal> {
    if !body.is_object() || !matches!(body["metadata"], Value::Object(_) | Value::Null) {
        return Err(Refusal::bad_request("the body of the request is not a Kubernetes object"));
    }
    let resource = &route.resource;
    for (field, expected) in [("apiVersion", resource.api_version()), ("kind", resource.kind.clone())] {
        match object::text(&body[field]) {
            "" => body[field] = json!(expected),
            given if given != expected => {
                return Err(Refusal::bad_request(format!(
                    "the object provided is unrecognized: {field} is {given}, expected {expected}"
                )));
            }
            _ => {}
        }
    }
    for (field, expected) in [("namespace", &route.namespace), ("name", &route.name)] {
        let given = object::text(&body["metadata"][field]);
        if expected.is_empty() && (field == "name" || given.is_empty()) {
            continue;
        }
        if !given.is_empty() && given != expected {
            return Err(Refusal::bad_request(format!(
                "the {field} of the provided object does not match the {field} sent on the request"
            )));
        }
        body["metadata"][field] = json!(expected);
    }
    object::map(&mut body["metadata"]);
    Ok(())
}

fn existing<'a>(objects: &'a Objects, route: &Route) -> Result<&'a Arc<Value>, Refusal> {
    objects.get(&route.key()).ok_or_else(|| Refusal::not_found(&route.resource, &route.name))
}

fn check_revision(route: &Route, old: &Value, given: &Value) -> Result<(), Refusal> {
    let given = object::text(given);
    if given.is_empty() || given == object::revision(old) {
        return Ok(());
    }
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    Err(Refusal::conflict(&route.resource, &route.name, why))
}

fn check_name(resource: &Resource, name: &str) -> Result<(), Refusal> {
    let rbac = resource.group == "rbac.authorization.k8s.io";
    // Objects are files: `NAME.json` has to fit into 255 bytes.
    let limit = match resource.storage().as_str() {
        "namespaces" | "services" => 63,
        _ => 250,
    };
    let dotted = limit != 63;
    let label = |label: &str| {
        let inner = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let valid = match (rbac, dotted) {
        (true, _) => !name.is_empty() && ![".", ".."].contains(&name) && !name.contains(['/', '%', '\0']),
        (false, true) => name.split('.').all(label),
        (false, false) => label(name),
    };
    if valid && name.len() <= limit {
        return Ok(());
    }
    let why = format!(
        "Invalid value: \"{name}\": a lowercase RFC 1123 {} must consist of lower case alphanumeric characters, '-'{}, \
         start and end with an alphanumeric character, and have no more than {limit} characters",
        if dotted { "subdomain" } else { "label" },
        if dotted { " or '.'" } else { "" },
    );
    Err(Refusal::invalid(resource, name, "metadata.name", &why))
}

fn manager(route: &Route, by: &str) -> Manager {
    Manager { name: by.to_owned(), subresource: route.subresource.clone() }
}

fn parse_yaml(body: &[u8]) -> Result<Value, Refusal> {
    if let Ok(json) = serde_json::from_slice(body) {
        return Ok(json);
    }
    let text = std::str::from_utf8(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    serde_saphyr::from_str(text).map_err(|error| Refusal::bad_request(error.to_string()))
}
