//! What a first login makes, and what is told while it does.

use std::time::Duration;

use bastion::api::user::DevServerDefaults;
use bastion::api::{DevServer, DevServerFlavor, Phase};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, PersistentVolumeClaim, Pod, ResourceQuota, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::harness::{Product, eventually, is_real};

#[tokio::test]
async fn first_login_creates_a_devserver_and_all_it_needs() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("echo hi").run().await.exits(0).prints("hi\n");

    Api::<Namespace>::all(product.client()).get(&alice.namespace()).await.expect("the namespace");
    alice.has::<ServiceAccount>(alice.name()).await;
    let binding = alice.has::<RoleBinding>("dev-user").await;
    assert_eq!((binding.role_ref.kind.as_str(), binding.role_ref.name.as_str()), ("ClusterRole", "dev-user"));
    let subjects = binding.subjects.expect("it binds somebody");
    assert_eq!(subjects.len(), 1);
    assert_eq!((subjects[0].kind.as_str(), subjects[0].name.as_str()), ("ServiceAccount", alice.name()));
    alice.has::<ResourceQuota>("dev-user").await;
    alice.has::<LimitRange>("dev-user").await;
    let policy = alice.has::<NetworkPolicy>("default-deny").await.spec.expect("a spec");
    assert!(policy.policy_types.is_some_and(|types| types.iter().any(|kind| kind == "Ingress")));
    alice.has::<PersistentVolumeClaim>("dev-home").await;

    let pod = alice.has::<Pod>("dev").await.spec.expect("a spec");
    assert_eq!(pod.service_account_name.as_deref(), Some(alice.name()));
    assert_eq!(pod.automount_service_account_token, Some(false));
    eventually("its status says Running", async || {
        let devserver = alice.has::<DevServer>("dev").await;
        let status = devserver.status?;
        (status.phase == Phase::Running && status.pod_name.as_deref() == Some("dev")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named() {
    let product = Product::shared().await;
    let image = if is_real() { "localhost/missing:1" } else { "missing/x:1" };
    let alice = product.user_with_image("alice", image).await;
    let waiting = alice.ssh("echo hi").start();
    waiting.says(image).await;
    waiting.says("`devctl update dev --image IMAGE` takes another").await;
    assert!(waiting.stdout_is_empty());
    waiting.kill().await;
}

#[tokio::test]
async fn why_it_waits_is_told_on_stderr_after_two_seconds() {
    let product = Product::shared().await;
    let flavor = Nowhere::offered(&product, "stderr").await;
    let alice = product.user_with("alice", flavor.defaults()).await;
    let waiting = alice.ssh("echo hi").start();
    let first = waiting.says("\n").await;
    assert!(first > Duration::from_millis(1900), "told after {first:?}");
    waiting.says("no node fits").await;
    assert!(waiting.stdout_is_empty());
    flavor.fits().await;
    waiting.finish().await.exits(0).prints("hi\n");
}

#[tokio::test]
async fn a_terminal_is_told_why_it_waits_and_gets_its_shell_when_there_is_room() {
    let product = Product::shared().await;
    let flavor = Nowhere::offered(&product, "terminal").await;
    let alice = product.user_with("alice", flavor.defaults()).await;
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.shows("no node fits").await;
    let told = terminal.rows().iter().filter(|row| !row.trim().is_empty()).count();
    assert_eq!(told, 1, "one line that changes in place:\n{}", terminal.rows().join("\n").trim_end());
    // What does not fit on that line has its turn.
    terminal.shows("it starts as soon as there is room").await;
    flavor.fits().await;
    terminal.types("echo $((40+2))\r").await;
    terminal.shows_row("42").await;
    let shown = terminal.rows().join("\n");
    assert!(!shown.contains("no node fits"), "what is over is not shown any more:\n{}", shown.trim_end());
    terminal.types("exit 3\r").await;
    terminal.exits(3).await;
}

/// A flavor whose pods fit on no node, until it is told to.
struct Nowhere {
    name: String,
    flavors: Api<DevServerFlavor>,
}

impl Nowhere {
    async fn offered(product: &Product, name: &str) -> Self {
        let nowhere = Self { name: format!("e2e-{name}-{}", std::process::id()), flavors: Api::all(product.client()) };
        nowhere.apply(json!({"nodeSelector": {"e2e": "nowhere"}})).await;
        nowhere
    }

    fn defaults(&self) -> DevServerDefaults {
        DevServerDefaults { flavor: Some(self.name.clone()), ..DevServerDefaults::default() }
    }

    async fn fits(&self) {
        self.apply(json!({})).await;
    }

    async fn apply(&self, mut spec: serde_json::Value) {
        spec["resources"] = json!({"limits": {"memory": "256Mi"}, "requests": {"cpu": "5m"}});
        let flavor = json!({
            "apiVersion": "devserver.io/v1",
            "kind": "DevServerFlavor",
            "metadata": {"name": self.name},
            "spec": spec,
        });
        let parameters = PatchParams::apply("bastion-e2e").force();
        self.flavors.patch(&self.name, &parameters, &Patch::Apply(&flavor)).await.expect("flavors can be applied");
    }
}

#[tokio::test]
async fn a_first_login_that_is_fast_says_nothing() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let first = alice.ssh("echo hi").run().await;
    first.exits(0).prints("hi\n");
    // A busy machine may take longer than the two seconds after which it is told.
    if !first.stderr().is_empty() {
        first.says("bastion: ");
    }
}

/// What is told of the wait was among the output that Ansible, which asks for a terminal, takes for its command's; and
/// a line of it that was cleared took the command's first one away.
#[tokio::test]
async fn a_command_on_a_terminal_has_its_output_to_itself() {
    let product = Product::shared().await;
    let flavor = Nowhere::offered(&product, "command").await;
    let alice = product.user_with("alice", flavor.defaults()).await;
    let first = alice.ssh("echo hi").argument("-tt").start();
    first.says("no node fits").await;
    flavor.fits().await;
    let first = first.finish().await;
    first.exits(0).prints("hi\r\n").says("bastion: ");
    assert!(!first.stderr().contains("\x1b"), "nothing is cleared: {:?}", first.stderr());
}

#[tokio::test]
async fn the_home_outlives_its_pod() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("echo kept >note").run().await.exits(0);
    let first = alice.has::<Pod>("dev").await.metadata.uid;
    alice.loses_pod("dev").await;
    eventually("a new pod", async || {
        let pod = alice.api::<Pod>().get_opt("dev").await.expect("the API server answers")?;
        (pod.metadata.uid != first && pod.metadata.deletion_timestamp.is_none()).then_some(())
    })
    .await;
    alice.ssh("cat note").run().await.exits(0).prints("kept\n");
}

#[tokio::test]
async fn a_login_meanwhile_waits_for_the_new_pod() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.loses_pod("dev").await;
    alice.ssh("echo back").run().await.exits(0).prints("back\n");
}

#[tokio::test]
async fn a_devserver_that_is_deleted_leaves_its_home() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("echo kept >note").run().await.exits(0);
    alice.api::<DevServer>().delete("dev", &DeleteParams::default()).await.expect("it is there");
    eventually("its pod is gone", async || {
        let pod = alice.api::<Pod>().get_opt("dev").await.expect("the API server answers");
        pod.is_none().then_some(())
    })
    .await;
    alice.has::<PersistentVolumeClaim>("dev-home").await;
    alice.ssh("cat note").run().await.exits(0).prints("kept\n");
}
