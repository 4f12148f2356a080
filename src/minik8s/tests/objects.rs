//! Objects: create, change, delete.

use super::*;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};

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
