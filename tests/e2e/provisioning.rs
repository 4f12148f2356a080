//! Many first logins, and namespaces that are not as they should be.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::harness::{Product, eventually, heavy};

#[tokio::test]
async fn fifty_first_logins_at_once_succeed() {
    let product = Product::shared().await;
    let _turn = heavy().await;
    let mut users = Vec::new();
    for n in 0..50 {
        users.push(product.user(&format!("crowd{n}")).await);
    }
    let logins =
        users.iter().map(|user| user.ssh("echo $HOME >/dev/null; echo in").limit(Duration::from_secs(300)).run());
    for login in futures::future::join_all(logins).await {
        login.exits(0).prints("in\n");
    }
}

#[tokio::test]
async fn a_login_waits_for_a_namespace_that_is_being_deleted() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let held: ServiceAccount = serde_json::from_value(json!({
        "metadata": {"name": "held", "finalizers": ["devserver.io/e2e"]},
    }))
    .expect("it is a service account");
    alice.api().create(&PostParams::default(), &held).await.expect("it can be made");
    let namespaces: Api<Namespace> = Api::all(product.client());
    namespaces.delete(&alice.namespace(), &DeleteParams::default()).await.expect("it is there");
    eventually("her pod is gone", async || {
        let pod = alice.api::<Pod>().get_opt("dev").await.expect("the API server answers");
        pod.is_none().then_some(())
    })
    .await;
    let half = namespaces.get(&alice.namespace()).await.expect("what is held holds it");
    assert!(half.metadata.deletion_timestamp.is_some());

    let login = alice.ssh("echo back").start();
    login.says("delet").await;
    assert!(login.stdout_is_empty());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let held: Api<ServiceAccount> = alice.api();
    held.patch("held", &PatchParams::default(), &release).await.expect("it is there");
    login.finish().await.exits(0).prints("back\n");
}

#[tokio::test]
async fn a_namespace_that_is_half_made_is_completed() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let namespace = json!({"metadata": {"name": alice.namespace(), "labels": {"devserver.io/user": alice.name()}}});
    let namespace: Namespace = serde_json::from_value(namespace).expect("it is a namespace");
    // The operator may have been there first.
    let _ = Api::<Namespace>::all(product.client()).create(&PostParams::default(), &namespace).await;
    alice.ssh("echo in").run().await.exits(0).prints("in\n");
}
