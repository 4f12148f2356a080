//! Namespaces where Pod Security `restricted` lets nobody be root.

use bastion::api::user::DevServerDefaults;
use bastion::api::{DevServer, Home, Phase};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::harness::{Product, eventually, is_real};

#[tokio::test]
async fn where_nobody_may_be_root_devservers_run_as_somebody_else() {
    let product = Product::undisturbed_with(&["provisioning.pod_security=restricted"]).await;
    // The test cluster's volumes are folders of the node, which no group is given; an empty one is.
    let home = Some(Home { ephemeral: true, ..Home::default() });
    let alice = product.user_with("alice", DevServerDefaults { home, ..DevServerDefaults::default() }).await;
    alice.ssh("echo hers >note; cat note").run().await.exits(0).prints("hers\n");
    if is_real() {
        // Processes of the embedded cluster are this machine's, whatever their pod says.
        let rights = "id -u; grep -E 'CapBnd|NoNewPrivs' /proc/self/status | tr -d '\\t'";
        alice.ssh(rights).run().await.exits(0).prints("1000\nCapBnd:0000000000000000\nNoNewPrivs:1\n");
    }
    let namespace = Api::<Namespace>::all(product.client()).get(&alice.namespace()).await.expect("it is there");
    assert_eq!(namespace.labels()["pod-security.kubernetes.io/enforce"], "restricted");
    let plain =
        json!({"metadata": {"name": "plain"}, "spec": {"containers": [{"name": "c", "image": "localhost/dev:1"}]}});
    let plain: Pod = serde_json::from_value(plain).expect("it is a pod");
    let refused = alice.api::<Pod>().create(&PostParams::default(), &plain).await;
    assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");

    alice.add_devserver_with("sudo", json!({"user": {"uid": 1234, "sudo": true}})).await;
    let message = eventually("it says what to change", async || {
        let status = alice.has::<DevServer>("sudo").await.status?;
        status.message.filter(|_| status.phase == Phase::Failed)
    })
    .await;
    assert!(message.starts_with("user.sudo is not allowed here"), "{message}");
    let gives_in = Patch::Merge(json!({"spec": {"user": {"sudo": false}}}));
    alice.api::<DevServer>().patch("sudo", &PatchParams::default(), &gives_in).await.expect("it can be changed");
    alice.runs("sudo").await;
    let whose = alice.shell_in("sudo").command("id -u").run().await.exits(0).text();
    assert!(!is_real() || whose == "1234\n", "{whose}");
}
