//! Ways round her limits, and out of her namespace, that somebody might try or stumble into.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::Role;
use kube::api::PropagationPolicy;

use super::*;

fn shared() -> DevServerSpec {
    serde_json::from_value(json!({ "share": [{ "user": "bob" }] })).unwrap()
}

fn is_there<K: Resource>(object: Option<&K>) -> bool {
    object.is_some()
}

impl Scene {
    /// Guests are those who may log in.
    async fn knows(&self, user: &str) {
        let user = DevServerUser::new(user, DevServerUserSpec::default());
        self.users().create(&PostParams::default(), &user).await.unwrap();
    }

    async fn patch(&self, name: &str, change: serde_json::Value) {
        self.hers::<DevServer>().patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    /// A pod that looks like DevServer `name`'s, and that nobody owns.
    async fn has_a_pod_without_owner(&self, name: &str) {
        let labels = json!({ (names::MANAGED_BY_LABEL): names::MANAGED_BY, (names::DEVSERVER_LABEL): name });
        let pod = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": labels },
            "spec": { "containers": [{ "name": "x", "image": "x", "command": ["sleep", "60"] }] }
        }));
        self.hers::<Pod>().create(&PostParams::default(), &pod.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_orphaned_while_no_operator_worked_is_ended() {
    let scene = Scene::start().await;
    scene.knows("bob").await;
    scene.create("dev", shared()).await;
    scene.phase("dev", Phase::Running).await;
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", is_there).await;

    let Scene { cluster, client, operator, _data } = scene;
    operator.stop().await;
    let servers: Api<DevServer> = Api::namespaced(client.clone(), "dev-alice");
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    servers.delete("dev", &orphan).await.unwrap();
    timeout(PATIENCE, await_condition(servers, "dev", is_gone)).await.unwrap().unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "dev-alice");
    assert!(pods.get("dev").await.unwrap().owner_references().is_empty());

    let scene = Scene { operator: Operator::start(&client), cluster, client, _data };
    scene.until(scene.hers::<Pod>(), "dev", is_gone).await;
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", is_gone).await;
    scene.until(scene.hers::<Role>(), "dev-guests", is_gone).await;
    // As it is when it works.
    scene.has_a_pod_without_owner("lost").await;
    scene.until(scene.hers::<Pod>(), "lost", is_gone).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_pod_ends_with_its_devserver_although_something_holds_that() {
    let scene = Scene::start().await;
    scene.knows("bob").await;
    scene.create("dev", shared()).await;
    scene.phase("dev", Phase::Running).await;
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", is_there).await;
    scene.patch("dev", json!({ "metadata": { "finalizers": ["example.org/held"] } })).await;
    scene.hers::<DevServer>().delete("dev", &DeleteParams::background()).await.unwrap();
    scene.until(scene.hers::<Pod>(), "dev", is_gone).await;
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", is_gone).await;
    let held = scene.hers::<DevServer>().get("dev").await.unwrap();
    assert!(held.metadata.deletion_timestamp.is_some());
    scene.patch("dev", json!({ "metadata": { "finalizers": null } })).await;
    scene.until(scene.hers::<DevServer>(), "dev", is_gone).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_pod_of_another_is_no_pod_of_one_whose_spec_cannot_be_had() {
    let scene = Scene::start().await;
    scene.create("dev", DevServerSpec { flavor: Some("nosuch".to_owned()), ..DevServerSpec::default() }).await;
    scene.phase("dev", Phase::Failed).await;
    scene.has_a_pod_without_owner("dev").await;
    scene.until(scene.hers::<Pod>(), "dev", is_gone).await;
    scene.phase("dev", Phase::Failed).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_spec_that_cannot_be_had_takes_no_limit_of_time_away() {
    let scene = Scene::start().await;
    scene.create_flavor("short", json!({ "resources": {}, "timeLimit": "2h" })).await;
    scene.create("dev", DevServerSpec { flavor: Some("short".to_owned()), ..DevServerSpec::default() }).await;
    scene.phase("dev", Phase::Running).await;
    let pod = scene.pod_uid("dev").await;

    scene.patch("dev", json!({ "spec": { "flavor": "nosuch" } })).await;
    let refused = |server: Option<&DevServer>| {
        let message = server.and_then(|server| server.status.as_ref()?.message.as_deref());
        message.is_some_and(|message| message.contains("there is no flavor"))
    };
    let server = scene.until(scene.hers::<DevServer>(), "dev", refused).await.unwrap();
    let status = server.status.unwrap();
    let (start, end) = (status.start_time.unwrap().0, status.expiration_time.unwrap().0);
    assert_eq!(end.duration_since(start).as_hours(), 2);
    assert_eq!(scene.pod_uid("dev").await, pod, "it runs on");
    scene.stop().await;
}

#[tokio::test]
async fn whoever_is_beyond_the_limit_waits_until_a_pod_is_gone() {
    let scene = Scene::start().await;
    scene.change::<DevServerUser>("alice", json!({ "limits": { "devServers": 1 } })).await;
    scene.create("first", DevServerSpec::default()).await;
    scene.phase("first", Phase::Running).await;
    for name in ["z", "y", "x"] {
        scene.create(name, DevServerSpec::default()).await;
    }
    for name in ["z", "y", "x"] {
        assert!(scene.phase(name, Phase::Failed).await.contains("this is one more"), "{name}");
    }
    scene.patch("first", json!({ "metadata": { "finalizers": ["example.org/held"] } })).await;
    scene.hers::<DevServer>().delete("first", &DeleteParams::background()).await.unwrap();
    scene.until(scene.hers::<Pod>(), "first", is_gone).await;
    let one_runs = async || {
        let servers = scene.hers::<DevServer>().list(&kube::api::ListParams::default()).await.unwrap();
        servers.iter().filter(|server| server.status.as_ref().is_some_and(|it| it.phase == Phase::Running)).count() == 1
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !one_runs().await {
        assert!(tokio::time::Instant::now() < deadline, "nobody takes the place");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scene.hers::<Pod>().list(&kube::api::ListParams::default()).await.unwrap().items.len(), 1);
    scene.stop().await;
}

#[tokio::test]
async fn a_namespace_that_is_not_a_users_is_not_taken_over() {
    let scene = Scene::start().await;
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let theirs = serde_json::from_value(json!({ "metadata": { "name": "dev-staging", "labels": { "team": "x" } } }));
    namespaces.create(&PostParams::default(), &theirs.unwrap()).await.unwrap();
    let staging = DevServerUser::new("staging", DevServerUserSpec::default());
    scene.users().create(&PostParams::default(), &staging).await.unwrap();
    let is_in = |phase: UserPhase| {
        move |user: Option<&DevServerUser>| {
            user.and_then(|user| user.status.as_ref()).is_some_and(|status| status.phase == phase)
        }
    };
    let failed = scene.until(scene.users(), "staging", is_in(UserPhase::Failed)).await.unwrap();
    let message = failed.status.unwrap().message.unwrap();
    assert!(message.contains("kubectl label namespace dev-staging devserver.io/user=staging"), "{message}");
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.client.clone(), "dev-staging");
    assert!(accounts.get_opt("staging").await.unwrap().is_none());
    let left_alone = namespaces.get("dev-staging").await.unwrap();
    assert!(!left_alone.labels().contains_key(names::MANAGED_BY_LABEL));

    let handed_over = Patch::Merge(json!({ "metadata": { "labels": { (names::USER_LABEL): "staging" } } }));
    namespaces.patch("dev-staging", &PatchParams::default(), &handed_over).await.unwrap();
    scene.change::<DevServerUser>("staging", json!({ "disabled": true })).await;
    scene.until(scene.users(), "staging", is_in(UserPhase::Ready)).await;
    assert!(accounts.get_opt("staging").await.unwrap().is_some());
    scene.stop().await;
}

#[tokio::test]
async fn a_binding_that_somebody_made_is_no_way_to_keep_a_devserver_from_being_looked_at() {
    let scene = Scene::start().await;
    scene.knows("bob").await;
    let theirs = serde_json::from_value(json!({
        "metadata": { "name": "dev-guests" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
    }));
    scene.hers::<RoleBinding>().create(&PostParams::default(), &theirs.unwrap()).await.unwrap();
    scene.create("dev", shared()).await;
    scene.phase("dev", Phase::Running).await;
    let ours = |binding: Option<&RoleBinding>| binding.is_some_and(|binding| binding.role_ref.name == "dev-guests");
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", ours).await;
    scene.stop().await;
}

#[tokio::test]
async fn who_may_not_log_in_is_no_guest() {
    let scene = Scene::start().await;
    scene.create("dev", shared()).await;
    scene.phase("dev", Phase::Running).await;
    assert!(scene.hers::<RoleBinding>().get_opt("dev-guests").await.unwrap().is_none(), "nobody knows him yet");
    scene.knows("bob").await;
    let is_his = |binding: Option<&RoleBinding>| {
        let subjects = binding.and_then(|binding| binding.subjects.as_deref()).unwrap_or_default();
        matches!(subjects, [only] if only.name == "guest.bob" && only.namespace.as_deref() == Some("dev-alice"))
    };
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", is_his).await;
    scene.change::<DevServerUser>("bob", json!({ "disabled": true })).await;
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", is_gone).await;
    scene.until(scene.hers::<Role>(), "dev-guests", is_gone).await;
    scene.change::<DevServerUser>("bob", json!({ "disabled": false })).await;
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", is_his).await;
    scene.users().delete("bob", &DeleteParams::default()).await.unwrap();
    scene.until(scene.hers::<RoleBinding>(), "dev-guests", is_gone).await;
    scene.stop().await;
}
