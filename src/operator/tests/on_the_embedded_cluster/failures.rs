//! What becomes of calls that fail for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Request};
use k8s_openapi::api::rbac::v1::Role;
use kube::client::Body;
use tower::BoxError;

use super::*;
use crate::api::conditions;

/// An operator some of whose calls get no answer until it is told otherwise.
struct Failing {
    fails: Arc<AtomicBool>,
}

impl Failing {
    async fn operator(
        scene: Scene,
        is_one: fn(&Request<Body>) -> bool,
        change: impl FnOnce(&mut Config),
    ) -> (Self, Scene) {
        let Scene { cluster, client, operator, _data } = scene;
        operator.stop().await;
        let fails = Arc::new(AtomicBool::new(true));
        let (inner, stays) = (client.clone(), fails.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let inner = inner.clone();
            let is_lost = is_one(&request) && stays.load(Ordering::SeqCst);
            async move {
                match is_lost {
                    true => Err(BoxError::from("it does not answer")),
                    false => inner.send(request).await.map_err(BoxError::from),
                }
            }
        });
        let operator = Operator::start_with(&Client::new(service, "default"), change);
        (Self { fails }, Scene { cluster, client, operator, _data })
    }

    fn ends(&self) {
        self.fails.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn who_wakes_one_whose_pod_is_not_gone_yet_is_not_sent_away_again() {
    let deletes_pods =
        |request: &Request<Body>| request.method() == Method::DELETE && request.uri().path().contains("/pods/");
    let (failing, scene) = Failing::operator(Scene::start().await, deletes_pods, |config| {
        config.lifecycle.grace = Duration::from_secs(1);
        config.lifecycle.idle_after = Duration::ZERO;
    })
    .await;
    let lifecycle = serde_json::from_value(json!({ "timeToLive": "1s" })).unwrap();
    scene.create("dev", DevServerSpec { lifecycle: Some(lifecycle), ..DevServerSpec::default() }).await;
    let message = scene.phase("dev", Phase::Suspended).await;
    assert!(message.ends_with("its pod is still stopping"), "{message}");
    let pod = scene.pod_uid("dev").await;

    let before = jiff::Timestamp::now();
    let wake = Patch::Merge(json!({ "spec": { "lifecycle": { "suspended": false, "timeToLive": "1h" } } }));
    let woken = scene.hers::<DevServer>().patch("dev", &PatchParams::default(), &wake).await.unwrap();
    let is_seen = move |server: Option<&DevServer>| {
        let status = server.and_then(|server| server.status.as_ref());
        status.is_some_and(|status| status.observed_generation >= woken.metadata.generation)
    };
    scene.until(scene.hers(), "dev", is_seen).await;
    failing.ends();
    scene.phase("dev", Phase::Running).await;
    let server = scene.hers::<DevServer>().get("dev").await.unwrap();
    assert!(!server.spec.lifecycle.unwrap().suspended);
    let start = server.status.unwrap().start_time.unwrap().0;
    assert!(start.as_second() >= before.as_second(), "its time begins anew");
    assert_eq!(scene.pod_uid("dev").await, pod, "it is as good as another");
    scene.stop().await;
}

#[tokio::test]
async fn a_user_whose_roles_cannot_be_bound_for_now_is_told_ready_and_what_is_missing() {
    let scene = Scene::start().await;
    let trainer = serde_json::from_value(json!({ "metadata": { "name": "trainer" } })).unwrap();
    scene.hers::<Role>().create(&PostParams::default(), &trainer).await.unwrap();
    let binds = |request: &Request<Body>| request.uri().path().ends_with("/rolebindings/dev-user:role:trainer");
    let (failing, scene) = Failing::operator(scene, binds, |_| {}).await;
    scene.change::<DevServerUser>("alice", json!({ "roleRefs": [{ "kind": "Role", "name": "trainer" }] })).await;
    let bound = |wanted: &'static str, message: &'static str| {
        move |user: Option<&DevServerUser>| {
            let status = user.and_then(|user| user.status.as_ref());
            let condition = status.and_then(|status| conditions::find(&status.conditions, conditions::ROLES_BOUND));
            condition.is_some_and(|bound| bound.status == wanted && bound.message.contains(message))
        }
    };
    let alice = scene.until(scene.users(), "alice", bound("False", "could not be put right yet")).await.unwrap();
    let status = alice.status.unwrap();
    assert_eq!((status.phase, status.observed_generation), (UserPhase::Ready, alice.metadata.generation));
    failing.ends();
    scene.until(scene.users(), "alice", bound("True", "")).await;
    scene.stop().await;
}
