//! A claim is a folder, bound at once, unless it names a PersistentVolume or wants no class; it lives until the claim
//! is deleted and no pod uses it.

use super::{binding, edit};
use crate::minik8s::{apiserver::CLAIM_PROTECTION, object, store::Store};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub(super) fn sync(store: &Store, data: &Path, claim: &Value) {
    if object::is_terminating(claim) {
        if !in_use(store, claim) {
            edit(store, "persistentvolumeclaims", claim, |claim| {
                object::remove_finalizer(claim, CLAIM_PROTECTION);
            });
        }
        return;
    }
    if claim["status"]["phase"] == "Bound" {
        return;
    }
    if !object::text(&claim["spec"]["volumeName"]).is_empty() || claim["spec"]["storageClassName"] == "" {
        return binding::bind(store, claim);
    }
    if let Err(error) = fs::create_dir_all(folder(data, claim)) {
        let claim = object::name(claim);
        tracing::error!(error = &error as &dyn std::error::Error, claim, "no folder for a claim");
        return;
    }
    edit(store, "persistentvolumeclaims", claim, |claim| {
        claim["spec"]["volumeName"] = json!(format!("pvc-{}", object::uid(claim)));
        claim["status"] = json!({
            "phase": "Bound",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": claim["spec"]["resources"]["requests"],
        });
    });
}

/// The claim is gone, and its data with it: the reclaim policy is Delete.
pub(super) fn remove(data: &Path, claim: &Value) {
    let folder = folder(data, claim);
    // Out of the way first: a new claim may take the name while this one's files are being removed.
    let trash = data.join("volumes").join(format!("_deleted-{}", object::uid(claim)));
    match fs::rename(&folder, &trash) {
        Ok(()) => drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = fs::remove_dir_all(&trash) {
                tracing::warn!(error = &error as &dyn std::error::Error, "a deleted volume is left in part");
            }
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a deleted volume is left");
        }
    }
}

fn in_use(store: &Store, claim: &Value) -> bool {
    store.list("pods", object::namespace(claim)).1.iter().any(|pod| {
        let over = matches!(object::text(&pod["status"]["phase"]), "Succeeded" | "Failed");
        let volumes = object::list(&pod["spec"]["volumes"]);
        !over && volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"])
    })
}

fn folder(data: &Path, claim: &Value) -> PathBuf {
    data.join("volumes").join(object::namespace(claim)).join(object::name(claim))
}
