//! On the embedded cluster: what becomes of the others, and what is told, when something cannot be done or read.

use std::sync::{Arc, Mutex};

use http::{Method, Request};
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::runtime::wait::{Condition, await_condition};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tower::BoxError;

use super::*;
use crate::api;
use crate::minik8s;

/// Long enough for a busy machine; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster with the storage of a team.
struct Scene {
    cluster: minik8s::Cluster,
    client: Client,
    _data: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let (cluster, client, data) = minik8s::Cluster::start_for_a_test(api::crds()).await;
        let scene = Self { cluster, client, _data: data };
        scene.add_volume("data", json!({ "namespace": "bastion", "name": "vision" })).await;
        scene
    }

    async fn add_volume(&self, name: &str, claim: Value) {
        let volume = json!({
            "metadata": { "name": name },
            "spec": {
                "accessModes": ["ReadWriteMany"], "capacity": { "storage": "1Ti" }, "claimRef": claim,
                "nfs": { "server": "nfs.example.org", "path": "/vision" },
                "persistentVolumeReclaimPolicy": "Retain",
            },
        });
        let volume = serde_json::from_value(volume).unwrap();
        self.volumes().create(&PostParams::default(), &volume).await.unwrap();
    }

    /// She has a namespace.
    async fn add_user(&self, name: &str) {
        let namespace = names::namespace(name);
        let object = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let users: Api<DevServerUser> = Api::all(self.client.clone());
        users.create(&PostParams::default(), &DevServerUser::new(name, Default::default())).await.unwrap();
        let status = Patch::Merge(json!({ "status": { "phase": "Ready", "namespace": namespace } }));
        users.patch_status(name, &PatchParams::default(), &status).await.unwrap();
    }

    async fn add_team(&self, members: &[&str]) {
        let spec = json!({ "members": members, "volume": { "persistentVolume": "data" } });
        let team = DevServerTeam::new("vision", serde_json::from_value(spec).unwrap());
        self.teams().create(&PostParams::default(), &team).await.unwrap();
    }

    async fn change<K: Resource<DynamicType = ()>>(&self, name: &str, spec: Value) {
        let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::erase::<K>(&()));
        let patch = Patch::Merge(json!({ "spec": spec }));
        objects.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    fn teams(&self) -> Api<DevServerTeam> {
        Api::all(self.client.clone())
    }

    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.client.clone())
    }

    /// Until it is dropped.
    fn run(&self, client: Client) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(run(client)))
    }

    async fn until(&self, user: &str, condition: impl Condition<PersistentVolume>) {
        let name = names::team_volume("vision", user);
        timeout(PATIENCE, await_condition(self.volumes(), &name, condition)).await.expect(&name).unwrap();
    }
}

fn is_there(volume: Option<&PersistentVolume>) -> bool {
    volume.is_some_and(|volume| volume.metadata.deletion_timestamp.is_none())
}

fn is_taken_away(volume: Option<&PersistentVolume>) -> bool {
    !is_there(volume)
}

#[tokio::test]
async fn who_cannot_be_read_keeps_her_volume_and_holds_up_nobody() {
    let scene = Scene::start().await;
    for user in ["alice", "bob", "carol"] {
        scene.add_user(user).await;
    }
    scene.add_team(&["alice", "bob"]).await;
    let running = scene.run(scene.client.clone());
    scene.until("alice", is_there).await;
    scene.until("bob", is_there).await;
    drop(running);

    scene.change::<DevServerUser>("bob", json!({ "disabled": "no" })).await;
    let _running = scene.run(scene.client.clone());
    scene.change::<DevServerTeam>("vision", json!({ "members": ["carol"] })).await;
    scene.until("carol", is_there).await;
    scene.until("alice", is_taken_away).await;
    let kept = scene.volumes().get("team.vision.bob").await.unwrap();
    assert!(is_there(Some(&kept)), "nobody knows whether she is still somebody");

    scene.change::<DevServerUser>("bob", json!({ "disabled": null })).await;
    scene.until("bob", is_taken_away).await;
    scene.cluster.stop().await;
}

#[tokio::test]
async fn a_status_that_cannot_be_written_is_tried_again_ever_more_slowly() {
    let scene = Scene::start().await;
    scene.add_user("alice").await;
    scene.add_team(&["alice"]).await;
    let tries: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let refusing = {
        let (inner, tries) = (scene.client.clone(), tries.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (inner, tries) = (inner.clone(), tries.clone());
            async move {
                if request.method() == Method::PATCH && request.uri().path().ends_with("/devserverteams/vision/status")
                {
                    tries.lock().unwrap().push(Instant::now());
                    return Err(BoxError::from("no"));
                }
                inner.send(request).await.map_err(BoxError::from)
            }
        });
        Client::new(service, "default")
    };
    let _running = scene.run(refusing);
    let deadline = Instant::now() + PATIENCE;
    while tries.lock().unwrap().len() < 3 {
        assert!(Instant::now() < deadline, "it is tried again");
        sleep(Duration::from_millis(20)).await;
    }
    let tries = tries.lock().unwrap().clone();
    assert!(tries[2] - tries[0] >= Duration::from_secs(3), "{tries:?}");
    scene.cluster.stop().await;
}

#[tokio::test]
async fn a_volume_of_somebody_elses_in_the_place_of_hers_is_told() {
    let scene = Scene::start().await;
    scene.add_user("alice").await;
    scene.add_volume("team.vision.alice", Value::Null).await;
    scene.add_team(&["alice"]).await;
    let _running = scene.run(scene.client.clone());
    let is_told = |team: Option<&DevServerTeam>| {
        let message = team.and_then(|team| team.status.as_ref()?.message.as_deref());
        message.is_some_and(|message| message.contains("there is another PersistentVolume team.vision.alice"))
    };
    timeout(PATIENCE, await_condition(scene.teams(), "vision", is_told)).await.expect("it is told").unwrap();
    scene.cluster.stop().await;
}
