//! The configuration; and, on the embedded cluster, what the operator makes of objects.

#[cfg(feature = "embedded")]
pub(super) mod sent;

use super::*;

pub(super) fn config() -> Config {
    settings().0
}

/// The defaults of an operator, and of what it provisions.
pub(super) fn settings() -> (Config, provisioning::Config) {
    #[derive(Deserialize)]
    struct File {
        operator: Config,
        provisioning: provisioning::Config,
    }
    let file: File = toml::from_str(include_str!("../../../config/default.toml")).unwrap();
    (file.operator, file.provisioning)
}

#[test]
fn the_configuration_is_whole() {
    let config = config();
    assert_eq!(config.home_size.0, "10Gi");
    assert_eq!(config.volume_wait, Duration::from_secs(3));
    assert!(config.lease.enabled && config.lease.namespace.is_none());
}

#[cfg(feature = "embedded")]
mod on_the_embedded_cluster {
    use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, ResourceQuota};
    use k8s_openapi::api::rbac::v1::RoleBinding;
    use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
    use kube::runtime::wait::{Condition, await_condition};
    use kube::{Api, Resource, ResourceExt};
    use serde::de::DeserializeOwned;
    use serde_json::json;
    use std::fmt::Debug;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::sent::Sent;
    use super::*;
    use crate::api::user::UserPhase;
    use crate::api::{
        self, DevServer, DevServerFlavor, DevServerSpec, DevServerTeam, DevServerUser, DevServerUserSpec, Phase, names,
    };
    use crate::minik8s;

    mod escapes;
    mod failures;
    mod homes;

    /// Long enough for a busy machine; nothing waits this long unless it is broken.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A cluster with an operator, and alice.
    struct Scene {
        cluster: minik8s::Cluster,
        client: Client,
        operator: Operator,
        _data: tempfile::TempDir,
    }

    struct Operator {
        task: JoinHandle<Result<(), Error>>,
        shutdown: CancellationToken,
        leads: oneshot::Receiver<()>,
    }

    impl Operator {
        fn start(client: &Client) -> Self {
            Self::start_with(client, |_| {})
        }

        fn start_with(client: &Client, change: impl FnOnce(&mut Config)) -> Self {
            let (mut config, provisioning) = settings();
            config.lease.retry = Duration::from_millis(100);
            change(&mut config);
            let (lead, leads) = oneshot::channel();
            let shutdown = CancellationToken::new();
            let ready = || lead.send(()).unwrap_or_default();
            let task = tokio::spawn(run(client.clone(), config, provisioning, Vec::new(), ready, shutdown.clone()));
            Self { task, shutdown, leads }
        }

        async fn stop(self) {
            self.shutdown.cancel();
            self.task.await.unwrap().unwrap();
        }
    }

    impl Scene {
        async fn start() -> Self {
            let (cluster, client, data) = minik8s::Cluster::start_for_a_test(api::crds()).await;
            let operator = Operator::start(&client);
            let scene = Self { cluster, client, operator, _data: data };
            let alice = DevServerUser::new("alice", DevServerUserSpec::default());
            scene.users().create(&PostParams::default(), &alice).await.unwrap();
            scene
                .until(scene.users(), "alice", |user: Option<&DevServerUser>| {
                    user.and_then(|user| user.status.as_ref()).is_some_and(|status| status.phase == UserPhase::Ready)
                })
                .await;
            scene
        }

        fn users(&self) -> Api<DevServerUser> {
            Api::all(self.client.clone())
        }

        fn hers<K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(&self) -> Api<K> {
            Api::namespaced(self.client.clone(), &names::namespace("alice"))
        }

        async fn until<K>(&self, api: Api<K>, name: &str, condition: impl Condition<K>) -> Option<K>
        where
            K: Resource + Clone + Debug + Send + DeserializeOwned + 'static,
        {
            timeout(PATIENCE, await_condition(api, name, condition)).await.expect(name).unwrap()
        }

        async fn create_flavor(&self, name: &str, spec: serde_json::Value) {
            let flavor = serde_json::from_value(json!({
                "apiVersion": "devserver.io/v1", "kind": "DevServerFlavor", "metadata": { "name": name }, "spec": spec
            }));
            let flavors: Api<DevServerFlavor> = Api::all(self.client.clone());
            flavors.create(&PostParams::default(), &flavor.unwrap()).await.unwrap();
        }

        async fn create(&self, name: &str, spec: DevServerSpec) {
            let params = PostParams::default();
            self.hers::<DevServer>().create(&params, &DevServer::new(name, spec)).await.unwrap();
        }

        /// Waits until DevServer `name` is in `phase`; its message.
        async fn phase(&self, name: &str, phase: Phase) -> String {
            let is_in = move |server: Option<&DevServer>| {
                server.and_then(|server| server.status.as_ref()).is_some_and(|status| status.phase == phase)
            };
            let server = self.until(self.hers(), name, is_in).await.unwrap();
            server.status.unwrap().message.unwrap_or_default()
        }

        async fn pod_uid(&self, name: &str) -> String {
            self.hers::<Pod>().get(name).await.unwrap().uid().unwrap()
        }

        /// Waits until somebody says so in an event.
        async fn hears(&self, reason: &str) {
            let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(self.client.clone(), "default");
            let deadline = tokio::time::Instant::now() + PATIENCE;
            loop {
                let all = events.list(&kube::api::ListParams::default()).await.unwrap();
                if all.iter().any(|event| event.reason.as_deref() == Some(reason)) {
                    break;
                }
                assert!(tokio::time::Instant::now() < deadline, "nobody says {reason}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }

        /// Changes an object that belongs to the cluster, whatever becomes of it.
        async fn change<K: Resource<DynamicType = ()>>(&self, name: &str, spec: serde_json::Value) {
            let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::erase::<K>(&()));
            let patch = Patch::Merge(json!({ "spec": spec }));
            objects.patch(name, &PatchParams::default(), &patch).await.unwrap();
        }

        /// With another operator, that knows nothing yet.
        async fn with_new_operator(self) -> Self {
            let Self { cluster, client, operator, _data } = self;
            operator.stop().await;
            Self { operator: Operator::start(&client), cluster, client, _data }
        }

        async fn stop(self) {
            self.operator.stop().await;
            self.cluster.stop().await;
        }
    }

    fn is_gone<K: Resource>(object: Option<&K>) -> bool {
        object.is_none()
    }

    #[tokio::test]
    async fn a_devserver_becomes_a_pod_that_is_followed_and_a_home_that_is_kept() {
        let scene = Scene::start().await;
        scene.create("dev", DevServerSpec::default()).await;
        scene.phase("dev", Phase::Running).await;
        let first = scene.pod_uid("dev").await;

        // Deleted behind the operator's back.
        scene.hers::<Pod>().delete("dev", &DeleteParams::default()).await.unwrap();
        let uid = first.clone();
        let another = move |pod: Option<&Pod>| pod.is_some_and(|pod| pod.uid().as_ref() != Some(&uid));
        scene.until(scene.hers(), "dev", another).await;
        scene.phase("dev", Phase::Running).await;
        let second = scene.pod_uid("dev").await;

        // Its owner wants another image.
        let image = Patch::Merge(json!({ "spec": { "image": "another" } }));
        scene.hers::<DevServer>().patch("dev", &PatchParams::default(), &image).await.unwrap();
        let renewed = |pod: Option<&Pod>| {
            pod.and_then(|pod| pod.spec.as_ref()?.containers[0].image.as_deref()) == Some("another")
        };
        scene.until(scene.hers(), "dev", renewed).await;
        scene.phase("dev", Phase::Running).await;
        assert_ne!(scene.pod_uid("dev").await, second);

        scene.hers::<DevServer>().delete("dev", &DeleteParams::default()).await.unwrap();
        scene.until(scene.hers::<Pod>(), "dev", is_gone).await;
        assert!(scene.hers::<PersistentVolumeClaim>().get("dev-home").await.is_ok());
        scene.stop().await;
    }

    #[tokio::test]
    async fn a_devserver_without_its_flavor_heals_when_the_flavor_comes() {
        let scene = Scene::start().await;
        let spec = DevServerSpec { flavor: Some("small".to_owned()), ..DevServerSpec::default() };
        scene.create("dev", spec).await;
        assert!(scene.phase("dev", Phase::Failed).await.starts_with(r#"there is no flavor "small"; "#));

        scene.create_flavor("small", json!({ "resources": {} })).await;
        scene.phase("dev", Phase::Running).await;
        scene.stop().await;
    }

    #[tokio::test]
    async fn a_flavors_limit_of_time_holds_for_its_devservers() {
        let scene = Scene::start().await;
        scene.create_flavor("short", json!({ "resources": {}, "timeLimit": "2h" })).await;
        let lifecycle = serde_json::from_value(json!({ "timeToLive": "24h" })).unwrap();
        let flavor = Some("short".to_owned());
        scene.create("dev", DevServerSpec { flavor, lifecycle, ..DevServerSpec::default() }).await;
        scene.phase("dev", Phase::Running).await;
        let status = scene.hers::<DevServer>().get("dev").await.unwrap().status.unwrap();
        let (start, end) = (status.start_time.unwrap().0, status.expiration_time.unwrap().0);
        assert_eq!(end.duration_since(start).as_hours(), 2);
        scene.stop().await;
    }

    #[tokio::test]
    async fn what_keeps_a_pod_from_running_is_told() {
        let scene = Scene::start().await;
        let ends = vec!["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()];
        scene.create("ends", DevServerSpec { command: Some(ends), ..DevServerSpec::default() }).await;
        let told = |server: Option<&DevServer>| {
            let message = server.and_then(|server| server.status.as_ref()?.message.as_deref());
            message.is_some_and(|message| message.contains("its command ended with exit code 3"))
        };
        scene.until(scene.hers(), "ends", told).await;

        let foreign = serde_json::from_value(json!({
            "metadata": { "name": "taken" },
            "spec": { "containers": [{ "name": "x", "image": "x", "command": ["sleep", "60"] }] }
        }));
        scene.hers::<Pod>().create(&PostParams::default(), &foreign.unwrap()).await.unwrap();
        scene.create("taken", DevServerSpec::default()).await;
        assert!(scene.phase("taken", Phase::Failed).await.contains("is not this DevServer's"));
        scene.stop().await;
    }

    #[tokio::test]
    async fn a_volume_that_is_not_bound_is_waited_for_and_told() {
        let scene = Scene::start().await;
        let home = api::Home { storage_class: Some("nosuch".to_owned()), ..api::Home::default() };
        scene.create("dev", DevServerSpec { home: Some(home), ..DevServerSpec::default() }).await;
        let message = scene.phase("dev", Phase::Pending).await;
        assert!(message.contains("home volume"), "{message}");
        scene.stop().await;
    }

    #[tokio::test]
    async fn a_users_namespace_is_put_right_and_outlives_her() {
        let scene = Scene::start().await;
        let bindings = scene.hers::<RoleBinding>();
        bindings.delete("dev-user", &DeleteParams::default()).await.unwrap();
        scene.until(bindings, "dev-user", |binding: Option<&RoleBinding>| binding.is_some()).await;

        scene.users().delete("alice", &DeleteParams::default()).await.unwrap();
        scene.hears("UserDeleted").await;
        let namespaces: Api<Namespace> = Api::all(scene.client.clone());
        assert!(namespaces.get("dev-alice").await.unwrap().metadata.deletion_timestamp.is_none());
        scene.stop().await;
    }

    #[tokio::test]
    async fn a_team_that_cannot_be_read_takes_nobodys_quota() {
        let scene = Scene::start().await;
        let quotas = json!({ "resourceQuota": { "hard": { "pods": "3" } } });
        let spec = serde_json::from_value(json!({ "members": ["alice"], "quotas": quotas })).unwrap();
        let teams: Api<DevServerTeam> = Api::all(scene.client.clone());
        teams.create(&PostParams::default(), &DevServerTeam::new("vision", spec)).await.unwrap();
        let is_the_teams = |quota: Option<&ResourceQuota>| {
            let hard = quota.and_then(|quota| quota.spec.as_ref()?.hard.as_ref());
            hard.is_some_and(|hard| hard.get("pods").is_some_and(|pods| pods.0 == "3"))
        };
        scene.until(scene.hers(), "dev-user", is_the_teams).await;

        scene.change::<DevServerTeam>("vision", json!({ "members": "alice" })).await;
        scene.hears("Unreadable").await;
        // When it is back the second time, the first reconciling of hers since then is over.
        for _ in 0..2 {
            scene.hers::<RoleBinding>().delete("dev-user", &DeleteParams::default()).await.unwrap();
            scene.until(scene.hers(), "dev-user", |binding: Option<&RoleBinding>| binding.is_some()).await;
        }
        let quota = scene.hers::<ResourceQuota>().get("dev-user").await.unwrap();
        assert!(is_the_teams(Some(&quota)), "{quota:?}");
        let bob = DevServerUser::new("bob", DevServerUserSpec::default());
        scene.users().create(&PostParams::default(), &bob).await.unwrap();
        let bobs: Api<ResourceQuota> = Api::namespaced(scene.client.clone(), "dev-bob");
        scene.until(bobs, "dev-user", |quota: Option<&ResourceQuota>| quota.is_some()).await;
        scene.stop().await;
    }

    #[tokio::test]
    async fn nothing_is_made_for_an_owner_who_cannot_be_read() {
        let scene = Scene::start().await;
        let disabled = |value: serde_json::Value| json!({ "disabled": value });
        scene.change::<DevServerUser>("alice", disabled(json!("no"))).await;
        let scene = scene.with_new_operator().await;
        scene.create("dev", DevServerSpec::default()).await;
        let message = scene.phase("dev", Phase::Failed).await;
        assert!(message.starts_with("the DevServerUser of alice cannot be read"), "{message}");
        assert!(scene.hers::<Pod>().get_opt("dev").await.unwrap().is_none());
        scene.change::<DevServerUser>("alice", disabled(serde_json::Value::Null)).await;
        scene.phase("dev", Phase::Running).await;
        scene.stop().await;
    }

    #[tokio::test]
    async fn who_left_a_team_has_nothing_of_it_although_the_operator_was_started_since_she_came() {
        let scene = Scene::start().await;
        let quotas = json!({ "resourceQuota": { "hard": { "pods": "3" } } });
        let spec = serde_json::from_value(json!({ "members": ["alice"], "quotas": quotas })).unwrap();
        let teams: Api<DevServerTeam> = Api::all(scene.client.clone());
        teams.create(&PostParams::default(), &DevServerTeam::new("vision", spec)).await.unwrap();
        let pods = |quota: Option<&ResourceQuota>| {
            let hard = quota.and_then(|quota| quota.spec.as_ref()?.hard.clone());
            hard.and_then(|hard| Some(hard.get("pods")?.0.clone())).unwrap_or_default()
        };
        scene.until(scene.hers(), "dev-user", move |quota: Option<&ResourceQuota>| pods(quota) == "3").await;
        let scene = scene.with_new_operator().await;
        // It has looked at alice, and with her at all that a list brought.
        scene.hers::<RoleBinding>().delete("dev-user", &DeleteParams::default()).await.unwrap();
        scene.until(scene.hers(), "dev-user", |binding: Option<&RoleBinding>| binding.is_some()).await;
        scene.change::<DevServerTeam>("vision", json!({ "members": [] })).await;
        scene.until(scene.hers(), "dev-user", move |quota: Option<&ResourceQuota>| pods(quota) != "3").await;
        scene.stop().await;
    }

    #[tokio::test]
    async fn of_two_operators_one_works_and_the_other_follows_it() {
        let scene = Scene::start().await;
        let sent = Sent::default();
        let mut second = Operator::start(&sent.through(&scene.client));
        // One try takes fewer; the first came to nothing.
        sent.has_looks(5).await;
        assert!(second.leads.try_recv().is_err(), "the first one leads");

        let Scene { cluster, client, operator, _data } = scene;
        operator.stop().await;
        timeout(PATIENCE, &mut second.leads).await.unwrap().unwrap();
        let scene = Scene { cluster, client, operator: second, _data };
        scene.create("dev", DevServerSpec::default()).await;
        scene.phase("dev", Phase::Running).await;
        scene.stop().await;
    }
}
