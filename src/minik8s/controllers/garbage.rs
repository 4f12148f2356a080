//! The garbage collector: what is owned goes with its last owner, or is let go first if the owner's deletion says so.

use super::delete;
use crate::minik8s::{
    apiserver::{Resource, all_resources},
    object,
    store::{Key, Store},
};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub(super) fn collect(store: &Store) {
    let (objects, resources) = store.view(|objects| {
        let all: Vec<(Key, Arc<Value>)> = objects.all().map(|(key, object)| (key.clone(), object.clone())).collect();
        (all, all_resources(objects))
    });
    let places: HashMap<&str, &Key> = objects.iter().map(|(key, object)| (object::uid(object), key)).collect();
    let resource = |key: &Key| {
        let mut resources = resources.iter();
        resources.find(|resource| resource.storage() == key.resource)
    };

    for (key, object) in &objects {
        let owners = object::owners(object);
        let owned = !owners.is_empty();
        let lost = !owners.iter().any(|owner| places.get(owner_uid(owner)).is_some_and(|owner| may_own(owner, key)));
        if owned
            && lost
            && !object::is_terminating(object)
            && let Some(resource) = resource(key)
        {
            delete(store, resource, object);
        }
        if object::is_terminating(object) {
            release(store, key, object, &objects, &resource);
        }
    }
}

/// Sees to the dependents of an object whose deletion waits for them.
fn release<'a>(
    store: &Store,
    place: &Key,
    owner: &Value,
    objects: &[(Key, Arc<Value>)],
    resource: &impl Fn(&Key) -> Option<&'a Resource>,
) {
    let (foreground, orphan) = (object::has_finalizer(owner, FOREGROUND), object::has_finalizer(owner, ORPHAN));
    if !foreground && !orphan {
        return;
    }
    let mut blocked = false;
    for (key, dependent) in objects {
        let mut owners = object::owners(dependent).iter();
        let reference = owners.rfind(|reference| owner_uid(reference) == object::uid(owner));
        let Some(reference) = reference.filter(|_| may_own(place, key)) else {
            continue;
        };
        if orphan {
            edit(store, key, |dependent| {
                if let Some(owners) = dependent["metadata"]["ownerReferences"].as_array_mut() {
                    owners.retain(|reference| owner_uid(reference) != object::uid(owner));
                }
            });
            continue;
        }
        blocked |= reference["blockOwnerDeletion"] == true;
        if !object::is_terminating(dependent)
            && let Some(resource) = resource(key)
        {
            delete(store, resource, dependent);
        }
    }
    if !blocked {
        edit(store, place, |owner| {
            object::remove_finalizer(owner, FOREGROUND);
            object::remove_finalizer(owner, ORPHAN);
        });
    }
}

/// What is in a namespace owns nothing outside: else anybody could hold up what is another's, by claiming to be its.
fn may_own(owner: &Key, object: &Key) -> bool {
    owner.namespace.is_empty() || owner.namespace == object.namespace
}

fn owner_uid(reference: &Value) -> &str {
    object::text(&reference["uid"])
}

fn edit(store: &Store, key: &Key, edit: impl FnOnce(&mut Value)) {
    if let Err(error) = store.edit(key, edit) {
        tracing::error!(error = &error as &dyn std::error::Error, "the collector cannot write");
    }
}
