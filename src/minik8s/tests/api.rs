//! Objects: create, change, watch, delete.

use super::*;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::{
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt, reflector, watcher},
};

fn config_map(name: &str, value: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name}, "data": {"key": value}}))
}

fn widget_api(running: &Running) -> Api<DynamicObject> {
    let kind = ApiResource {
        group: "example.com".to_owned(),
        version: "v1".to_owned(),
        api_version: "example.com/v1".to_owned(),
        kind: "Widget".to_owned(),
        plural: "widgets".to_owned(),
    };
    Api::namespaced_with(running.client.clone(), "default", &kind)
}

#[tokio::test]
async fn an_object_is_created_changed_and_deleted() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    let params = PostParams::default();
    let made = maps.create(&params, &config_map("a", "1")).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    assert_eq!(code(maps.create(&params, &config_map("a", "1")).await), (409, "AlreadyExists".to_owned()));

    let mut changed = made.clone();
    changed.data = config_map("a", "2").data;
    let changed = maps.replace("a", &params, &changed).await.unwrap();
    assert_eq!(changed.data.as_ref().unwrap()["key"], "2");
    assert_eq!(code(maps.replace("a", &params, &made).await), (409, "Conflict".to_owned()));
    let patch = Patch::Merge(json!({"data": {"key": null, "more": "3"}}));
    let patched = maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.data.unwrap().into_iter().collect::<Vec<_>>(), [("more".to_owned(), "3".to_owned())]);

    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(maps.get("a").await), (404, "NotFound".to_owned()));
    running.cluster.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let running = Running::start().await;
    let params = PostParams::default();
    let nowhere = running.within::<ConfigMap>("nowhere");
    let (status, _) = code(nowhere.create(&params, &config_map("a", "1")).await);
    assert_eq!(status, 404);
    let maps = running.within::<ConfigMap>("default");
    let (status, reason) = code(maps.create(&params, &config_map("A_b", "1")).await);
    assert_eq!((status, reason.as_str()), (422, "Invalid"));

    let mut elsewhere = config_map("a", "1");
    elsewhere.metadata.namespace = Some("kube-system".to_owned());
    assert_eq!(code(maps.create(&params, &elsewhere).await).0, 400);
    let pod = from(json!({"metadata": {"name": "a"}, "spec": {
        "serviceAccountName": "nobody", "containers": [container("true")],
    }}));
    let pods = running.within::<Pod>("default");
    assert_eq!(code(pods.create(&params, &pod).await).0, 403);
    running.cluster.stop().await;
}

#[tokio::test]
async fn only_the_token_opens() {
    let running = Running::start().await;
    let mut config = running.cluster.client_config();
    config.auth_info.token = None;
    let stranger = Client::try_from(config).unwrap();
    let namespaces: Api<Namespace> = Api::all(stranger);
    assert_eq!(code(namespaces.list(&ListParams::default()).await).0, 401);

    let file = kube::config::Kubeconfig::read_from(running.cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(Client::try_from(config).unwrap());
    assert!(namespaces.get("default").await.is_ok());
    running.cluster.stop().await;
}

#[tokio::test]
async fn loopback_only_and_one_cluster_on_its_data() {
    let running = Running::start().await;
    let open = Config::new("0.0.0.0:0".parse().unwrap(), running.data.path());
    let refused = Cluster::start(open, Vec::new()).await.err().unwrap();
    assert!(matches!(refused, Error::NotLoopback(_)), "{refused}");
    let second = Config::new("127.0.0.1:0".parse().unwrap(), running.data.path());
    let refused = Cluster::start(second, Vec::new()).await.err().unwrap();
    assert!(matches!(refused, Error::InUse(_)), "{refused}");
    running.cluster.stop().await;
}

#[tokio::test]
async fn managers_share_an_object_by_server_side_apply() {
    let running = Running::start().await;
    let widgets = widget_api(&running);
    let apply = async |by: &str, force: bool, spec: Value| {
        let mut params = PatchParams::apply(by);
        params.force = force;
        let wanted = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec});
        widgets.patch("w", &params, &Patch::Apply(wanted)).await
    };
    let first = apply("x", false, json!({"a": 1, "b": 1})).await.unwrap();
    let same = apply("x", false, json!({"a": 1, "b": 1})).await.unwrap();
    assert_eq!(first.metadata, same.metadata, "nothing changed, not even the revision");

    let refused = apply("y", false, json!({"a": 2})).await;
    let kube::Error::Api(status) = refused.unwrap_err() else { panic!("no status") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(status.details.unwrap().causes[0].field, ".spec.a");
    let forced = apply("y", true, json!({"a": 2})).await.unwrap();
    assert_eq!(forced.metadata.generation, Some(2));
    let left = apply("x", false, json!({})).await.unwrap();
    assert_eq!(left.data["spec"], json!({"a": 2}));

    let status =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "status": {"phase": "Ready"}, "spec": {"a": 9}});
    let after = widgets.patch_status("w", &PatchParams::apply("z").force(), &Patch::Apply(status)).await.unwrap();
    assert_eq!((&after.data["status"]["phase"], &after.data["spec"]["a"]), (&json!("Ready"), &json!(2)));
    assert_eq!(after.metadata.generation, left.metadata.generation);
    let again = apply("x", false, json!({"c": 1})).await.unwrap();
    assert_eq!(again.data["status"]["phase"], "Ready", "a status is not the main door's to change");
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_finalizer_holds_a_deleted_object() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    let mut held = config_map("a", "1");
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    let marked = maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(marked.left().unwrap().metadata.deletion_timestamp.is_some());
    assert!(maps.get("a").await.is_ok());

    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("a", &PatchParams::default(), &free).await.unwrap();
    assert_eq!(code(maps.get("a").await).0, 404);
    running.cluster.stop().await;
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    let owner = maps.create(&PostParams::default(), &config_map("owner", "")).await.unwrap();
    let mut owned = config_map("owned", "");
    owned.metadata.owner_references = Some(vec![from(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid.unwrap(),
    }))]);
    maps.create(&PostParams::default(), &owned).await.unwrap();
    maps.delete("owner", &DeleteParams::default()).await.unwrap();
    until(&maps, "owned", |owned: Option<&ConfigMap>| owned.is_none()).await;

    let owner = maps.create(&PostParams::default(), &config_map("owner", "")).await.unwrap();
    owned.metadata.owner_references.as_mut().unwrap()[0].uid = owner.metadata.uid.unwrap();
    owned.metadata.owner_references.as_mut().unwrap()[0].block_owner_deletion = Some(true);
    maps.create(&PostParams::default(), &owned).await.unwrap();
    maps.delete("owner", &DeleteParams::foreground()).await.unwrap();
    until(&maps, "owner", |owner: Option<&ConfigMap>| owner.is_none()).await;
    assert_eq!(code(maps.get("owned").await).0, 404, "first what is owned, then the owner");
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_deleted_namespace_takes_everything_along() {
    let running = Running::start().await;
    running.namespace("team").await;
    let maps = running.within::<ConfigMap>("team");
    let mut held = config_map("held", "1");
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.create(&PostParams::default(), &config_map("free", "1")).await.unwrap();

    let namespaces = running.all::<Namespace>();
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    until(&maps, "free", |map: Option<&ConfigMap>| map.is_none()).await;
    let refused = maps.create(&PostParams::default(), &config_map("late", "1")).await;
    let kube::Error::Api(status) = refused.unwrap_err() else { panic!("no status") };
    assert_eq!(status.code, 403);
    assert!(status.message.contains("because it is being terminated"), "{}", status.message);
    let phase = namespaces.get("team").await.unwrap().status.unwrap().phase;
    assert_eq!(phase.as_deref(), Some("Terminating"));

    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &free).await.unwrap();
    until(&namespaces, "team", |namespace: Option<&Namespace>| namespace.is_none()).await;
    running.namespace("team").await;
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_watch_replays_bookmarks_and_expires() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    let before = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();

    let params = WatchParams::default().timeout(1);
    let events: Vec<_> = maps.watch(&params, &before).await.unwrap().try_collect().await.unwrap();
    assert!(
        matches!(&events[..], [WatchEvent::Added(_), WatchEvent::Deleted(_), WatchEvent::Bookmark(_)]),
        "{events:?}"
    );
    let events: Vec<_> = maps.watch(&params, "1").await.unwrap().try_collect().await.unwrap();
    assert!(matches!(&events[..], [WatchEvent::Added(_), ..]), "all since the start: {events:?}");

    let running = running.restart().await;
    let maps = running.within::<ConfigMap>("default");
    let events: Vec<_> = maps.watch(&params, &before).await.unwrap().try_collect().await.unwrap();
    let [WatchEvent::Error(status)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_reflector_follows_across_a_restart() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    let strategies = [watcher::Config::default(), watcher::Config::default().streaming_lists()];
    let stores: Vec<_> = strategies
        .into_iter()
        .map(|config| {
            let (store, writer) = reflector::store::<ConfigMap>();
            let follow = watcher(maps.clone(), config).default_backoff().reflect(writer);
            tokio::spawn(follow.for_each(|_| std::future::ready(())));
            store
        })
        .collect();
    let has = |name: &str| {
        let of = reflector::ObjectRef::new(name).within("default");
        stores.iter().all(|store| store.get(&of).is_some())
    };
    maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    eventually("the first object is seen", || has("a")).await;
    let running = running.restart().await;
    let maps = running.within::<ConfigMap>("default");
    maps.create(&PostParams::default(), &config_map("b", "1")).await.unwrap();
    eventually("the second object is seen", || has("a") && has("b")).await;
    running.cluster.stop().await;
}

#[tokio::test]
async fn selectors_choose() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    for (name, tier) in [("a", "x"), ("b", "y")] {
        let mut map = config_map(name, "1");
        map.metadata.labels = Some([("tier".to_owned(), tier.to_owned())].into());
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let names = async |params: ListParams| -> Vec<String> {
        let list = maps.list(&params).await.unwrap();
        list.into_iter().map(|map| map.metadata.name.unwrap()).collect()
    };
    assert_eq!(names(ListParams::default().labels("tier in (x,z)")).await, ["a"]);
    assert_eq!(names(ListParams::default().fields("metadata.name=b")).await, ["b"]);
    assert_eq!(code(maps.list(&ListParams::default().fields("data.key=1")).await).0, 400);
    running.cluster.stop().await;
}

#[tokio::test]
async fn an_account_acts_in_its_own_namespace_only() {
    let running = Running::start().await;
    running.namespace("team").await;
    let accounts = running.within::<ServiceAccount>("team");
    accounts.create(&PostParams::default(), &from(json!({"metadata": {"name": "alice"}}))).await.unwrap();
    let get = async |user: &str, namespace: &str| {
        let request = http::Request::get(format!("/api/v1/namespaces/{namespace}/configmaps"))
            .header("Impersonate-User", user)
            .body(Vec::new())
            .unwrap();
        match running.client.request::<Value>(request).await {
            Ok(_) => 200,
            Err(kube::Error::Api(status)) => status.code,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(get("system:serviceaccount:team:alice", "team").await, 200);
    assert_eq!(get("system:serviceaccount:team:alice", "default").await, 403);
    assert_eq!(get("system:serviceaccount:team:nobody", "team").await, 403);
    assert_eq!(get("root", "team").await, 403);

    let log = fs::read_to_string(running.data.path().join("audit.log")).unwrap();
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_alice = events.iter().filter(|event| {
        event["impersonatedUser"]["username"] == "system:serviceaccount:team:alice" && event["verb"] == "list"
    });
    let codes: Vec<_> = of_alice.map(|event| event["responseStatus"]["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [200, 403]);
    running.cluster.stop().await;
}

#[tokio::test]
async fn an_account_may_elsewhere_what_roles_say() {
    let running = Running::start().await;
    running.namespace("team").await;
    let ask = async |method: &str, path: &str| {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("Impersonate-User", "system:serviceaccount:team:default")
            .body(Vec::new())
            .unwrap();
        match running.client.request::<Value>(request).await {
            Ok(_) => 200,
            Err(kube::Error::Api(status)) => status.code,
            Err(other) => panic!("{other}"),
        }
    };
    let rule = json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]});
    let role = from(json!({"metadata": {"name": "see-nodes"}, "rules": [rule]}));
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "see-nodes"});
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"});
    let binding = from(json!({"metadata": {"name": "see-nodes"}, "roleRef": role_ref, "subjects": [subject]}));
    assert_eq!(ask("GET", "/api/v1/nodes").await, 403);
    running.all::<ClusterRole>().create(&PostParams::default(), &role).await.unwrap();
    running.all::<ClusterRoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
    assert_eq!(ask("GET", "/api/v1/nodes").await, 200);
    assert_eq!(ask("GET", "/api/v1/nodes/minik8s").await, 403);
    assert_eq!(ask("DELETE", "/api/v1/nodes").await, 403);
    assert_eq!(ask("GET", "/api/v1/namespaces/default/configmaps").await, 403);

    // Nobody looks whether the account is there: roles are bound to a name.
    let ask_as_nobody = async |path: &str| {
        let request = http::Request::get(path).header("Impersonate-User", "system:serviceaccount:team:nobody");
        running.client.request::<Value>(request.body(Vec::new()).unwrap()).await.is_ok()
    };
    assert!(!ask_as_nobody("/api/v1/namespaces/team/configmaps").await);
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]});
    let role = from(json!({"metadata": {"name": "see-maps"}, "rules": [rule]}));
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "see-maps"});
    let subject = json!({"kind": "ServiceAccount", "namespace": "team", "name": "nobody"});
    let binding = from(json!({"metadata": {"name": "see-maps"}, "roleRef": role_ref, "subjects": [subject]}));
    running.within::<Role>("team").create(&PostParams::default(), &role).await.unwrap();
    running.within::<RoleBinding>("team").create(&PostParams::default(), &binding).await.unwrap();
    assert!(ask_as_nobody("/api/v1/namespaces/team/configmaps").await);
    assert!(!ask_as_nobody("/api/v1/namespaces/team/secrets").await);
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

#[tokio::test]
async fn a_lease_has_one_holder() {
    let running = Running::start().await;
    let manager = |holder: &str| {
        kube_lease_manager::LeaseManagerBuilder::new(running.client.clone(), "leader")
            .with_namespace("default")
            .with_identity(holder)
            .with_duration(8)
            .with_grace(4)
            .build()
    };
    let first = manager("one").await.unwrap();
    assert!(first.changed().await.unwrap());
    let second = manager("two").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), second.changed()).await.is_err());
    first.release().await.unwrap();
    assert!(tokio::time::timeout(PATIENCE, second.changed()).await.unwrap().unwrap());
    running.cluster.stop().await;
}

#[tokio::test]
async fn kubectl_is_shown_a_table() {
    let running = Running::start().await;
    let request = http::Request::get("/api/v1/namespaces?fieldSelector=metadata.name%3Ddefault")
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .body(Vec::new())
        .unwrap();
    let table: Value = running.client.request(request).await.unwrap();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..2], [json!("default"), json!("Active")]);
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_delete_may_insist_on_the_object_it_saw() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    let other = kube::api::Preconditions { uid: Some("another".to_owned()), resource_version: None };
    let insist = DeleteParams::default().preconditions(other);
    assert_eq!(code(maps.delete("a", &insist).await), (409, "Conflict".to_owned()));
    assert!(maps.get("a").await.is_ok());
    running.cluster.stop().await;
}
