//! A cluster, an operator that comes and goes, and the wire between them.

use std::collections::HashSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use super::deeds::{Deed, of};
use super::dice::Dice;
use super::model::{DATA, Kind, Model, TEAMS, USERS, Wish};
use super::snapshot::{Snapshot, differences, unsettled};
use super::steps::Step;
use super::wire::Wire;
use crate::api::{self, DevServer, DevServerFlavor, DevServerTeam, DevServerUser, names};
use crate::minik8s;
use crate::operator;

pub(super) struct Scene {
    cluster: minik8s::Cluster,
    pub(super) client: Client,
    wire: Wire,
    operator: Option<Operator>,
    _data: tempfile::TempDir,
}

struct Operator {
    task: JoinHandle<Result<(), operator::Error>>,
    shutdown: CancellationToken,
}

impl Scene {
    /// Without an operator.
    pub(super) async fn start() -> Self {
        let (cluster, client, data) = minik8s::Cluster::start_for_a_test(api::crds()).await;
        let scene = Self { cluster, client, wire: Wire::new(), operator: None, _data: data };
        for team in TEAMS {
            scene.has_storage_for(team).await;
        }
        scene
    }

    async fn has_storage_for(&self, team: &str) {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = json!({
            "metadata": { "name": team },
            "spec": {
                "accessModes": ["ReadWriteMany"], "capacity": { "storage": "1Gi" },
                "claimRef": { "namespace": "bastion", "name": team },
                "nfs": { "server": "nfs", "path": "/" },
            },
        });
        volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
    }

    pub(super) async fn take(&mut self, step: &Step) {
        match step {
            Step::Wish(wish) => {
                // Refused where its namespace is not there yet, or goes.
                let _ = self.wish(wish).await;
            }
            Step::Deed(deed) => self.meddle(deed).await,
            Step::Start => self.operator = Some(self.start_operator()),
            Step::Stop => {
                if let Some(Operator { task, shutdown }) = self.operator.take() {
                    shutdown.cancel();
                    task.await.unwrap().unwrap();
                }
            }
            Step::Kill => {
                if let Some(Operator { task, .. }) = self.operator.take() {
                    task.abort();
                    let _ = task.await;
                }
            }
            Step::Cut => self.wire.cut(),
            Step::Down => self.wire.down(),
            Step::Up => self.wire.up(),
            Step::UpToNothing => {
                let all = self.api(&of::<Pod>(), None).list(&ListParams::default()).await.unwrap();
                self.wire.forget(all.metadata.resource_version.unwrap().parse().unwrap());
                self.wire.up();
            }
        }
    }

    /// Whatever broke is whole again.
    pub(super) async fn mend(&mut self) {
        self.wire.up();
        if self.operator.is_none() {
            self.take(&Step::Start).await;
        }
    }

    fn start_operator(&self) -> Operator {
        let (mut config, provisioning) = crate::operator::tests::settings();
        // Who leads is another test's matter.
        config.lease.enabled = false;
        config.restart_pause = Duration::from_millis(50);
        config.max_restart_pause = Duration::from_millis(200);
        let shutdown = CancellationToken::new();
        let client = self.wire.client(&self.client);
        let run = operator::run(client, config, provisioning, Vec::new(), || {}, shutdown.clone());
        Operator { task: tokio::spawn(run), shutdown }
    }

    /// All of it, as soon as the cluster takes it.
    pub(super) async fn becomes(&self, model: &Model, dice: &mut Dice) {
        let mut wishes = model.wishes.clone();
        dice.shuffle(&mut wishes);
        // Without her a user's namespace may stay away for good.
        wishes.sort_by_key(|wish| wish.kind == Kind::Server);
        for wish in &wishes {
            patiently(&format!("{wish:?}"), || self.wish(wish)).await;
        }
        for user in USERS {
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &names::namespace(user));
            let claim = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": DATA },
                "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
            });
            let (params, patch) = (PatchParams::apply("test").force(), Patch::Apply(claim));
            patiently(DATA, || async { claims.patch(DATA, &params, &patch).await.map(drop) }).await;
        }
    }

    async fn wish(&self, wish: &Wish) -> kube::Result<()> {
        let Wish { kind, namespace, name, spec } = wish;
        let kind = match kind {
            Kind::User => of::<DevServerUser>(),
            Kind::Flavor => of::<DevServerFlavor>(),
            Kind::Team => of::<DevServerTeam>(),
            Kind::Server => of::<DevServer>(),
        };
        let api = self.api(&kind, Some(namespace).filter(|namespace| !namespace.is_empty()));
        let Some(spec) = spec else {
            return match api.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(drop),
            };
        };
        match api.get_opt(name).await? {
            Some(mut object) => {
                object.data["spec"] = without_nulls(spec.clone());
                if object.metadata.deletion_timestamp.is_some() {
                    return Err(kube::Error::Service("it is being deleted".into()));
                }
                api.replace(name, &PostParams::default(), &object).await.map(drop)
            }
            None => {
                let mut object = DynamicObject::new(name, &kind);
                object.data = json!({ "spec": without_nulls(spec.clone()) });
                api.create(&PostParams::default(), &object).await.map(drop)
            }
        }
    }

    /// It may have nothing to meddle with.
    async fn meddle(&self, deed: &Deed) {
        let api = self.api(&deed.kind, deed.namespace.as_ref());
        let Some(change) = &deed.change else {
            // One that is in use is gone with the pod only, and nothing can keep it.
            if deed.kind.kind == "PersistentVolumeClaim" && self.is_in_use(deed).await {
                return;
            }
            let _ = api.delete(&deed.name, &DeleteParams::default()).await;
            return;
        };
        let (params, patch) = (PatchParams::default(), Patch::Merge(change));
        let _ = match deed.is_of_status() {
            true => api.patch_status(&deed.name, &params, &patch).await,
            false => api.patch(&deed.name, &params, &patch).await,
        };
    }

    async fn is_in_use(&self, deed: &Deed) -> bool {
        let pods = self.api(&of::<Pod>(), deed.namespace.as_ref()).list(&ListParams::default()).await.unwrap();
        let claims = |pod: &DynamicObject| pod.data["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        pods.iter().flat_map(claims).any(|volume| volume["persistentVolumeClaim"]["claimName"] == deed.name.as_str())
    }

    fn api(&self, kind: &ApiResource, namespace: Option<&String>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        }
    }

    pub(super) async fn snapshot(&self, model: &Model) -> Snapshot {
        Snapshot::take(&self.client, model).await
    }

    /// What it came to once everything has: no status is behind its spec, nothing is on its way.
    pub(super) async fn settled(&self, model: &Model) -> Result<Snapshot, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.snapshot(model).await;
            let waiting = unsettled(&now, model);
            if waiting.is_empty() {
                sleep(super::REST).await;
                let later = self.snapshot(model).await;
                if later.versions == now.versions && differences(&now, &later).is_empty() {
                    return Ok(now);
                }
            }
            if Instant::now() > deadline {
                return Err(format!("it waits for {}", waiting.join(", ")));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the pods of which the status says that a change takes effect when they are next made, each once.
    pub(super) async fn restart_as_told(&self, restarted: &mut HashSet<String>) {
        for server in Api::<DevServer>::all(self.client.clone()).list(&ListParams::default()).await.unwrap() {
            let message = server.status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or_default();
            if !message.contains("takes effect when the pod is next made") {
                continue;
            }
            let namespace = server.namespace().unwrap();
            let of_hers = self.api(&of::<Pod>(), Some(&namespace));
            let pod = of_hers.get_opt(&server.name_any()).await.unwrap();
            if pod.is_some_and(|pod| restarted.insert(pod.uid().unwrap())) {
                let _ = of_hers.delete(&server.name_any(), &DeleteParams::default()).await;
            }
        }
    }

    pub(super) async fn stop(mut self) {
        self.take(&Step::Stop).await;
        self.cluster.stop().await;
    }
}

/// A namespace may be on its way, either way.
async fn patiently<F: Future<Output = kube::Result<()>>>(what: &str, mut ask: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = ask().await {
        assert!(Instant::now() < deadline, "{what} is refused: {error}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    value
}
