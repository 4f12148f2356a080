//! PersistentVolumes that somebody made, and the claims that name them.

use super::*;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::DeleteParams;

fn volume(name: &str, path: &std::path::Path) -> PersistentVolume {
    from(json!({
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "1Ti"},
            "claimRef": {"namespace": "default", "name": "shared"},
            "hostPath": {"path": path},
        },
    }))
}

fn claim(name: &str, owner: &PersistentVolume) -> PersistentVolumeClaim {
    let (volume, uid) = (owner.metadata.name.as_deref(), owner.metadata.uid.as_deref());
    from(json!({
        "metadata": {
            "name": name,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "PersistentVolume", "name": volume, "uid": uid, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Mi"}},
            "storageClassName": "",
            "volumeName": volume,
        },
    }))
}

fn phase(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.phase.as_deref()
}

fn is_bound(claim: Option<&PersistentVolumeClaim>) -> bool {
    claim.and_then(phase) == Some("Bound")
}

#[tokio::test]
async fn a_volume_is_the_folder_that_it_names_and_only_its_claims() {
    let running = Running::start().await;
    let folder = running.data.path().join("shared");
    let volumes = running.all::<PersistentVolume>();
    let made = volumes.create(&PostParams::default(), &volume("made", &folder)).await.unwrap();
    let claims = running.within::<PersistentVolumeClaim>("default");
    claims.create(&PostParams::default(), &claim("another", &made)).await.unwrap();
    claims.create(&PostParams::default(), &claim("shared", &made)).await.unwrap();
    let bound = until(&claims, "shared", is_bound).await.unwrap();
    assert_eq!(bound.status.unwrap().capacity.unwrap()["storage"].0, "1Ti");
    assert_eq!(phase(&claims.get("another").await.unwrap()), Some("Pending"));

    let mut main = container("echo >$DATA/note; sleep 1000");
    main["env"] = json!([{"name": "DATA", "value": "/data"}]);
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let spec =
        json!({"containers": [main], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}]});
    running.create_pod("default", "dev", spec).await;
    let pods = running.within::<Pod>("default");
    until(&pods, "dev", kube::runtime::conditions::is_pod_running()).await.unwrap();
    eventually("the pod writes where the volume is", || folder.join("note").exists()).await;

    // Deleted in the foreground, it takes its claims along, once no pod has them.
    volumes.delete("made", &DeleteParams::foreground()).await.unwrap();
    until(&claims, "another", |claim: Option<&PersistentVolumeClaim>| claim.is_none()).await;
    assert!(is_bound(Some(&claims.get("shared").await.unwrap())), "a pod has it");
    pods.delete("dev", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&claims, "shared", |claim: Option<&PersistentVolumeClaim>| claim.is_none()).await;
    until(&volumes, "made", |volume: Option<&PersistentVolume>| volume.is_none()).await;
    assert!(folder.join("note").exists(), "what is in it is kept");
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_volume_whose_claim_is_gone_is_released() {
    let running = Running::start().await;
    let volumes = running.all::<PersistentVolume>();
    let made = volumes.create(&PostParams::default(), &volume("made", running.data.path())).await.unwrap();
    let claims = running.within::<PersistentVolumeClaim>("default");
    for phase in ["Bound", "Released"] {
        match phase {
            "Bound" => drop(claims.create(&PostParams::default(), &claim("shared", &made)).await.unwrap()),
            _ => drop(claims.delete("shared", &DeleteParams::default()).await.unwrap()),
        }
        let is_so = move |volume: Option<&PersistentVolume>| {
            volume.and_then(|volume| volume.status.as_ref()?.phase.as_deref()) == Some(phase)
        };
        until(&volumes, "made", is_so).await;
    }
    claims.create(&PostParams::default(), &claim("shared", &made)).await.unwrap();
    volumes.delete("made", &DeleteParams::default()).await.unwrap();
    until(&volumes, "made", |volume: Option<&PersistentVolume>| volume.is_none()).await;
    until(&claims, "shared", |claim: Option<&PersistentVolumeClaim>| claim.is_none()).await;
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_claim_is_bound_and_goes_with_its_data() {
    let running = Running::start().await;
    let claims = running.within::<PersistentVolumeClaim>("default");
    let claim = from(json!({"metadata": {"name": "home"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }}));
    claims.create(&PostParams::default(), &claim).await.unwrap();
    let bound = |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
    };
    until(&claims, "home", bound).await;
    let folder = running.data.path().join("volumes/default/home");
    assert!(folder.is_dir());

    claims.delete("home", &DeleteParams::default()).await.unwrap();
    until(&claims, "home", |claim: Option<&PersistentVolumeClaim>| claim.is_none()).await;
    eventually("the folder is removed", || !folder.exists()).await;
    running.cluster.stop().await;
}
