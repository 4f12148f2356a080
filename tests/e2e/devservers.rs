//! What a DevServer's spec says about its pod.

use bastion::api::DevServer;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::flavors::{add_flavor, flavors};
use crate::harness::{Product, Ssh, User, eventually, is_real};

#[tokio::test]
async fn a_devserver_has_its_variables_its_shared_memory_and_its_volumes() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let login = |command: &str| {
        let login = format!("{}+train", alice.name());
        Ssh::new(product.front(), &login).key(alice.key()).command(command)
    };

    alice.add_devserver_with("train", spec("first")).await;
    says(&alice, "there is no claim data in the namespace").await;
    add_claim(&alice, "data").await;
    says(&alice, "secret \"tokens\" not found").await;
    add_secret(&alice).await;
    let write = "echo kept >$DATA/note; echo home >note; echo $GREETING $TOKEN ${NONE-none}";
    login(write).run().await.exits(0).prints("first s3cret none\n");

    let pod = alice.has::<Pod>("train").await;
    assert_eq!(shared_memory(&pod).as_deref(), Some("32Mi"));
    if is_real() {
        login("df -k /dev/shm | awk 'NR == 2 { print $2 }'").run().await.exits(0).prints("32768\n");
    }

    alice.add_devserver_with("train", spec("second")).await;
    eventually("another pod", async || {
        let other = alice.api::<Pod>().get_opt("train").await.expect("the API server answers")?;
        (other.metadata.uid != pod.metadata.uid).then_some(())
    })
    .await;
    login("echo $GREETING; cat $DATA/note note").run().await.exits(0).prints("second\nkept\nhome\n");
}

fn spec(greeting: &str) -> Value {
    let secret =
        |name: &str, optional: bool| json!({"secretKeyRef": {"name": name, "key": "token", "optional": optional}});
    json!({
        "env": [
            {"name": "GREETING", "value": greeting},
            {"name": "DATA", "value": "/data"},
            {"name": "TOKEN", "valueFrom": secret("tokens", false)},
            {"name": "NONE", "valueFrom": secret("missing", true)},
        ],
        "shm": "32Mi",
        "volumes": [{"claim": "data", "mountPath": "/data"}],
    })
}

async fn says(user: &User, words: &str) {
    eventually(words, async || {
        let status = user.has::<DevServer>("train").await.status?;
        status.message?.contains(words).then_some(())
    })
    .await;
}

async fn add_claim(user: &User, name: &str) {
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }))
    .expect("it is a claim");
    user.api().create(&PostParams::default(), &claim).await.expect("claims can be made");
}

async fn add_secret(user: &User) {
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "tokens"}, "stringData": {"token": "s3cret"}}))
            .expect("it is a secret");
    user.api().create(&PostParams::default(), &secret).await.expect("secrets can be made");
}

fn shared_memory(pod: &Pod) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let memory = volumes.iter().find(|volume| volume.name == "shm")?.empty_dir.clone()?;
    Some(memory.size_limit?.0)
}

#[tokio::test]
async fn a_flavors_volumes_are_there_but_where_she_has_her_own() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("devctl list").run().await.exits(0);
    for name in ["data", "mine"] {
        add_claim(&alice, name).await;
    }
    let volume =
        |claim: &str, path: &str, read_only: bool| json!({"claim": claim, "mountPath": path, "readOnly": read_only});
    let flavor = format!("data-{}", alice.name());
    let offered = json!([volume("data", "/data", true), volume("nowhere", "/both", false)]);
    add_flavor(product.client(), &flavor, json!({"resources": {}, "volumes": offered})).await;
    let own = json!([volume("mine", "/both", false), volume("mine", "/seen", true)]);
    let env = json!([
        {"name": "DATA", "value": "/data"}, {"name": "BOTH", "value": "/both"}, {"name": "SEEN", "value": "/seen"}
    ]);
    let spec = json!({"flavor": flavor, "home": {"ephemeral": true}, "volumes": own, "env": env});
    alice.add_devserver_with("train", spec).await;
    let in_train = |command: &str| alice.shell_in("train").command(command);
    let kept = in_train("ls $DATA && echo kept >$BOTH/note && cat $SEEN/note").run().await;
    kept.exits(0).prints("kept\n");
    let mounts = alice.has::<Pod>("train").await.spec.and_then(|mut spec| spec.containers.remove(0).volume_mounts);
    let mounts = mounts.unwrap_or_default();
    for (path, read_only) in [("/data", true), ("/both", false), ("/seen", true)] {
        let mount = mounts.iter().find(|mount| mount.mount_path == path).expect("it is mounted");
        assert_eq!(mount.read_only.unwrap_or_default(), read_only, "{path}");
    }
    if is_real() {
        for folder in ["$DATA", "$SEEN"] {
            in_train(&format!("touch {folder}/x")).run().await.exits(1).says("Read-only file system");
        }
    }
    flavors(product.client()).delete(&flavor, &DeleteParams::default()).await.expect("it is there");
}

#[tokio::test]
async fn the_token_of_her_account_is_in_the_pod_only_if_she_asks_for_it() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    has_token(&alice, false).await;
    alice.ssh("devctl update dev --service-account-token --yes --wait").run().await.exits(0);
    has_token(&alice, true).await;
    alice.ssh("devctl update dev --reset service-account-token --yes --wait").run().await.exits(0);
    has_token(&alice, false).await;
}

async fn has_token(user: &User, expected: bool) {
    let pod = user.has::<Pod>("dev").await;
    assert_eq!(pod.spec.expect("it has one").automount_service_account_token, Some(expected));
    // The embedded cluster mounts no token in any pod.
    if is_real() {
        let file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
        let is_there = user.ssh(&format!("test -s {file} && echo there || echo none")).run().await;
        is_there.exits(0).prints(if expected { "there\n" } else { "none\n" });
    }
}
