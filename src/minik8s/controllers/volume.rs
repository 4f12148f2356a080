//! A PersistentVolume that somebody made: bound to the claim that names it, and released when that claim is gone. What
//! is behind it is never deleted, whatever its reclaim policy; of sources, `hostPath` is a folder and all others are
//! empty.

use super::{claim, edit};
use crate::minik8s::{
    apiserver::VOLUME_PROTECTION,
    object,
    store::{Key, Store},
};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn sync(store: &Store, data: &Path, volume: &Value) {
    let reserved = &volume["spec"]["claimRef"];
    let key = Key::new("persistentvolumeclaims", object::text(&reserved["namespace"]), object::name_field(reserved));
    let claim = store.get(&key);
    let was_bound = reserved["uid"].is_string();
    let is_bound = was_bound && claim.as_ref().is_some_and(|claim| claim["metadata"]["uid"] == reserved["uid"]);
    if was_bound && !is_bound && volume["status"]["phase"] != "Released" {
        edit(store, "persistentvolumes", volume, |volume| volume["status"]["phase"] = json!("Released"));
    }
    if object::is_terminating(volume) && !is_bound {
        edit(store, "persistentvolumes", volume, |volume| object::remove_finalizer(volume, VOLUME_PROTECTION));
    }
    if let Some(claim) = claim {
        claim::sync(store, data, &claim);
    }
}

/// The volume of a claim that changed or is gone.
pub(super) fn sync_named(store: &Store, data: &Path, claim: &Value) {
    let key = Key::new("persistentvolumes", "", object::text(&claim["spec"]["volumeName"]));
    if let Some(volume) = store.get(&key) {
        sync(store, data, &volume);
    }
}
