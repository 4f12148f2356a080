//! A PersistentVolume that somebody made: bound to the claim that names it, and released when that claim is gone. What is
//! behind it is never deleted, whatever its reclaim policy; of sources, `hostPath` is a folder and all others are empty.

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

/// Binds `claim` to the volume that it names, if that is there and no other's. Kubernetes would also let it have one that is
/// reserved for nobody.
pub(super) fn bind(store: &Store, claim: &Value) {
    let key = Key::new("persistentvolumes", "", object::text(&claim["spec"]["volumeName"]));
    let Some(volume) = store.get(&key).filter(|volume| fits(volume, claim)) else { return };
    edit(store, "persistentvolumes", &volume, |volume| {
        volume["spec"]["claimRef"]["uid"] = claim["metadata"]["uid"].clone();
        volume["status"]["phase"] = json!("Bound");
    });
    edit(store, "persistentvolumeclaims", claim, |claim| {
        claim["status"] = json!({
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": volume["spec"]["capacity"],
        });
    });
}

fn fits(volume: &Value, claim: &Value) -> bool {
    let (spec, reserved) = (&volume["spec"], &volume["spec"]["claimRef"]);
    let modes = object::list(&spec["accessModes"]);
    !object::is_terminating(volume)
        && reserved["namespace"] == claim["metadata"]["namespace"]
        && reserved["name"] == claim["metadata"]["name"]
        && (reserved["uid"].is_null() || reserved["uid"] == claim["metadata"]["uid"])
        && object::text(&spec["storageClassName"]) == object::text(&claim["spec"]["storageClassName"])
        && object::list(&claim["spec"]["accessModes"]).iter().all(|mode| modes.contains(mode))
}
