//! A namespace that is deleted takes what is in it along, and goes when that is gone.

use super::{delete, edit};
use crate::minik8s::{
    apiserver::all_resources,
    object,
    store::{Key, Store},
};
use serde_json::{Value, json};

pub(super) fn sync(store: &Store, namespace: &Value) {
    let name = object::name(namespace);
    if !object::is_terminating(namespace) {
        return default_account(store, name);
    }
    let mut left = false;
    for resource in store.view(all_resources) {
        if !resource.namespaced {
            continue;
        }
        for object in store.list(&resource.storage(), name).1 {
            if !object::is_terminating(&object) {
                delete(store, &resource, &object);
            }
        }
        left |= !store.list(&resource.storage(), name).1.is_empty();
    }
    if !left {
        edit(store, "namespaces", namespace, |namespace| {
            object::map(&mut namespace["spec"]).remove("finalizers");
        });
    }
}

pub(super) fn sync_named(store: &Store, name: &str) {
    if let Some(namespace) = store.get(&Key::new("namespaces", "", name)) {
        sync(store, &namespace);
    }
}

fn default_account(store: &Store, namespace: &str) {
    let key = Key::new("serviceaccounts", namespace, "default");
    let created = store.write::<crate::minik8s::store::Error>(&key, |objects| {
        if let Some(account) = objects.get(&key) {
            return Ok(Some(Value::clone(account)));
        }
        Ok(Some(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": "default",
                "namespace": namespace,
                "uid": object::new_uid(),
                "creationTimestamp": object::now(),
            },
        })))
    });
    if let Err(error) = created {
        tracing::error!(error = &error as &dyn std::error::Error, "no default account");
    }
}
