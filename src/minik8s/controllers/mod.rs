//! The controllers whose work somebody would miss: namespaces, garbage, claims and volumes, quotas.
//! Each looks at everything after every change; a cluster of this size is looked through in no time.

mod binding;
mod claim;
mod garbage;
mod namespace;
mod volume;

use super::{
    apiserver::{DeleteOptions, Refusal, Resource, delete_object},
    object,
    store::{Change, Event, Key, Store},
};
use serde_json::Value;
use std::{path::PathBuf, sync::Arc};

pub(super) async fn run(store: Arc<Store>, data: PathBuf) {
    let mut cursor = store.follow(store.revision());
    everything(&store, &data);
    loop {
        match cursor.next().await {
            Ok(events) => {
                for event in &events {
                    react(&store, &data, event);
                }
                if events.iter().any(|event| makes_garbage(event)) {
                    garbage::collect(&store);
                }
            }
            Err(_) => {
                cursor = store.follow(store.revision());
                everything(&store, &data);
            }
        }
    }
}

fn everything(store: &Store, data: &std::path::Path) {
    for storage in ["namespaces", "persistentvolumes", "persistentvolumeclaims", "resourcequotas"] {
        for object in store.list(storage, "").1 {
            look_at(store, data, storage, &object);
        }
    }
    garbage::collect(store);
}

fn react(store: &Store, data: &std::path::Path, event: &Event) {
    let storage = event.key.resource.as_str();
    if event.change == Change::Deleted {
        if storage == "persistentvolumeclaims" {
            claim::remove(data, &event.object);
            volume::sync_named(store, data, &event.object);
        }
        if storage == "pods" {
            for claim in store.list("persistentvolumeclaims", &event.key.namespace).1 {
                claim::sync(store, data, &claim);
            }
        }
    } else if let Some(object) = store.get(&event.key) {
        look_at(store, data, storage, &object);
    }
    if event.change == Change::Deleted && !event.key.namespace.is_empty() {
        namespace::sync_named(store, &event.key.namespace);
    }
}

fn makes_garbage(event: &Event) -> bool {
    event.change == Change::Deleted
        || !object::owners(&event.object).is_empty()
        || object::is_terminating(&event.object)
}

fn look_at(store: &Store, data: &std::path::Path, storage: &str, object: &Value) {
    match storage {
        "namespaces" => namespace::sync(store, object),
        "persistentvolumes" => volume::sync(store, data, object),
        "persistentvolumeclaims" => claim::sync(store, data, object),
        "resourcequotas" => {
            // Quotas are shown, not enforced.
            edit(store, "resourcequotas", object, |quota| {
                quota["status"]["hard"] = quota["spec"]["hard"].clone();
            });
        }
        _ => {}
    }
}

fn edit(store: &Store, storage: &str, object: &Value, edit: impl FnOnce(&mut Value)) {
    let key = Key::new(storage, object::namespace(object), object::name(object));
    if let Err(error) = store.edit(&key, edit) {
        tracing::error!(error = &error as &dyn std::error::Error, "a controller cannot write");
    }
}

/// Deletes this very object, whatever became of it meanwhile.
fn delete(store: &Store, resource: &Resource, object: &Value) {
    let key = Key::new(&resource.storage(), object::namespace(object), object::name(object));
    let options = DeleteOptions::of_uid(object::uid(object));
    match delete_object(store, resource, &key, &options) {
        Ok(_) => {}
        Err(Refusal { message, .. }) => tracing::debug!(message, "not deleted"),
    }
}
