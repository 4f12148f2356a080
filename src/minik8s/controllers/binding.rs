//! Which claim has which PersistentVolume.

use super::edit;
use crate::minik8s::{
    object,
    store::{Key, Store},
};
use serde_json::{Value, json};

/// Binds `claim` to the volume that it names, if that is there and no other's. Kubernetes would also let it have one
/// that is reserved for nobody.
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
