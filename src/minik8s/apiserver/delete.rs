//! Delete: at once, or marked and left to finalizers, the kubelet and the garbage collector.

use super::{
    resources::Resource,
    route::{Query, Route},
    selector::Selector,
    status::Refusal,
};
use crate::minik8s::{
    object,
    store::{Key, Store},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Options {
    grace_period_seconds: Option<i64>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    preconditions: Preconditions,
    dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Options {
    /// Deletes that object and not another that took its name.
    pub(crate) fn of_uid(uid: &str) -> Options {
        Options {
            preconditions: Preconditions { uid: Some(uid.to_owned()), resource_version: None },
            ..Options::default()
        }
    }

    pub(crate) fn without_grace(self) -> Options {
        Options { grace_period_seconds: Some(0), ..self }
    }

    pub(super) fn of(body: &[u8], query: &Query) -> Result<Options, Refusal> {
        let mut options: Options = match body.is_empty() {
            true => Options::default(),
            false => serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?,
        };
        if let Some(seconds) = query.number("gracePeriodSeconds") {
            options.grace_period_seconds = i64::try_from(seconds).ok();
        }
        if !query.get("propagationPolicy").is_empty() {
            options.propagation_policy = Some(query.get("propagationPolicy").to_owned());
        }
        if !options.dry_run.is_empty() {
            return Err(Refusal::bad_request("the embedded cluster has no dry run"));
        }
        Ok(options)
    }

    fn finalizer(&self) -> Option<&'static str> {
        match (self.propagation_policy.as_deref(), self.orphan_dependents) {
            (Some("Foreground"), _) => Some("foregroundDeletion"),
            (Some("Orphan"), _) | (None, Some(true)) => Some("orphan"),
            _ => None,
        }
    }
}

/// What is left of the object (it waits for somebody), or a `Status` that it is gone.
pub(super) fn delete(store: &Store, route: &Route, options: &Options) -> Result<Value, Refusal> {
    let last = delete_object(store, &route.resource, &route.key(), options)?;
    Ok(match object::is_terminating(&last) && !object::is_finalized(&last) {
        true => Value::clone(&last),
        false => json!({
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": route.name,
                "group": route.resource.group,
                "kind": route.resource.plural,
                "uid": object::uid(&last),
            },
        }),
    })
}

pub(super) fn delete_collection(
    store: &Store,
    route: &Route,
    selector: &Selector,
    options: &Options,
) -> Result<Vec<Arc<Value>>, Refusal> {
    let storage = route.resource.storage();
    let (_, objects) = store.list(&storage, &route.namespace);
    let mut deleted = Vec::new();
    for found in objects.iter().filter(|object| selector.matches(object)) {
        let key = Key::new(&storage, object::namespace(found), object::name(found));
        match delete_object(store, &route.resource, &key, options) {
            Ok(last) => deleted.push(last),
            Err(refusal) if refusal.code == http::StatusCode::NOT_FOUND => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(deleted)
}

pub(crate) fn delete_object(
    store: &Store,
    resource: &Resource,
    key: &Key,
    options: &Options,
) -> Result<Arc<Value>, Refusal> {
    store.write(key, |objects| {
        let old = objects.get(key).ok_or_else(|| Refusal::not_found(resource, &key.name))?;
        check(resource, old, &options.preconditions)?;
        let grace = grace(old, options);
        let mut marked = Value::clone(old);
        if !object::is_terminating(old) {
            if let Some(finalizer) = options.finalizer() {
                object::add_finalizer(&mut marked, finalizer);
            }
            marked["metadata"]["deletionTimestamp"] = object::now();
            marked["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            if let Some(generation) = old["metadata"]["generation"].as_u64() {
                marked["metadata"]["generation"] = json!(generation + 1);
            }
            if resource.storage() == "namespaces" {
                marked["status"]["phase"] = json!("Terminating");
            }
        } else if grace < old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) {
            marked["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        }
        // Once nothing holds it, the store lets it go.
        Ok(Some(marked))
    })
}

fn check(resource: &Resource, old: &Value, wanted: &Preconditions) -> Result<(), Refusal> {
    for (what, wanted, found) in
        [("UID", &wanted.uid, object::uid(old)), ("ResourceVersion", &wanted.resource_version, object::revision(old))]
    {
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
            return Err(Refusal::conflict(resource, object::name(old), &why));
        }
    }
    Ok(())
}

/// Only pods that run somewhere are given time; all else goes as soon as its finalizers are gone.
fn grace(old: &Value, options: &Options) -> i64 {
    let finished = matches!(object::text(&old["status"]["phase"]), "Succeeded" | "Failed");
    if old["kind"] != "Pod" || finished || object::text(&old["spec"]["nodeName"]).is_empty() {
        return 0;
    }
    options.grace_period_seconds.or(old["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30).max(0)
}
