//! The startup script, whom programs run as, and homes of other kinds.

use bastion::api::{DevServer, DevServerStatus, Phase};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::{Product, Ssh, User, eventually, is_real, skip_unless, with_agents};

fn login(product: &Product, user: &User, command: &str) -> Ssh {
    Ssh::new(product.front(), &format!("{}+train", user.name())).key(user.key()).command(command)
}

async fn status_that(user: &User, what: &str, fits: impl Fn(&DevServerStatus) -> bool) -> DevServerStatus {
    eventually(what, async || {
        let status = user.has::<DevServer>("train").await.status?;
        fits(&status).then_some(status)
    })
    .await
}

fn runs(status: &DevServerStatus) -> bool {
    status.phase == Phase::Running
}

async fn other_pod(user: &User, pod: &Pod) {
    eventually("another pod", async || {
        let other = user.api::<Pod>().get_opt("train").await.expect("the API server answers")?;
        (other.metadata.uid != pod.metadata.uid).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_startup_script_is_over_before_anybody_is_in() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    alice.is_running().await;
    // It waits for somebody to look at it from outside.
    let script = "#!/bin/sh\necho to the log\nwhile ! test -e go; do sleep 0.1; done\necho $GREETING >made\n";
    let spec = json!({
        "startupScript": script,
        "env": [{ "name": "GREETING", "value": "hello" }],
        "command": ["sh", "-c", "cp made seen; exec sleep 98720"],
    });
    alice.add_devserver_with("train", spec).await;
    let waits = |status: &DevServerStatus| status.message.as_deref() == Some("its startup script runs");
    status_that(&alice, "the script runs", waits).await;
    let first = login(&product, &alice, "cat made .bastion/startup.log").start();
    assert!(first.stdout_is_empty());
    let pod: Pod = alice.has("train").await;
    enter(&product, &alice, &pod, "touch go").await;
    first.finish().await.exits(0).prints("hello\nto the log\n");
    let seen = login(&product, &alice, "while ! test -e seen; do sleep 0.1; done; cat seen");
    seen.run().await.exits(0).prints("hello\n");
    let told = status_that(&alice, "it runs", runs).await;
    let condition = told.conditions.iter().find(|condition| condition.type_ == "StartupScript");
    assert_eq!(condition.map(|condition| condition.status.as_str()), Some("True"), "{told:?}");
}

/// Runs a command in the pod as an administrator would, whom nobody keeps out.
async fn enter(product: &Product, user: &User, pod: &Pod, command: &str) {
    let kubeconfig = product.kubeconfig().to_str().expect("the tests' folders have plain names").to_owned();
    let name = pod.metadata.name.clone().expect("it has one");
    let arguments = [
        "--kubeconfig",
        &kubeconfig,
        "exec",
        "-n",
        &user.namespace(),
        &name,
        "-c",
        "devserver",
        "--",
        "sh",
        "-c",
        command,
    ];
    let output =
        tokio::process::Command::new("kubectl").args(arguments).output().await.expect("kubectl is on the PATH");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_startup_script_that_fails_keeps_nobody_out_and_is_told() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    alice.is_running().await;
    alice
        .add_devserver_with("train", json!({ "startupScript": "echo made >made\necho no such package >&2\nexit 3\n" }))
        .await;
    let first = login(&product, &alice, "cat made").run().await;
    first.exits(0).prints("made\n").says("the startup script failed (exit code 3)").says("no such package");
    let second = login(&product, &alice, "echo in").run().await;
    assert!(!second.exits(0).stderr().contains("startup script"), "{}", second.stderr());
    let status = status_that(&alice, "it runs", runs).await;
    assert!(status.message.as_deref().is_some_and(|message| message.contains("startup.log")), "{status:?}");

    let pod: Pod = alice.has("train").await;
    alice.add_devserver_with("train", json!({ "startupScript": "echo well" })).await;
    other_pod(&alice, &pod).await;
    let well = login(&product, &alice, "cat made .bastion/startup.log").run().await;
    well.exits(0).prints("made\nwell\n");
    assert!(!well.stderr().contains("startup script failed"), "{}", well.stderr());
}

#[tokio::test]
async fn programs_run_as_whom_the_spec_says() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let user = json!({ "uid": 1234, "gid": 4321, "sudo": false });
    alice.add_devserver_with("train", json!({ "user": user })).await;
    let pod: Pod = alice.has("train").await;
    let context = pod.spec.and_then(|spec| spec.containers[0].security_context.clone()).expect("it has one");
    assert_eq!((context.run_as_user, context.run_as_group), (Some(1234), Some(4321)));
    if is_real() {
        let who = login(&product, &alice, "id -u; id -g; grep NoNewPrivs /proc/self/status").run().await;
        who.exits(0).prints("1234\n4321\nNoNewPrivs:\t1\n");
    }
}

#[tokio::test]
async fn a_home_may_be_a_claim_that_is_there() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.add_devserver_with("train", json!({ "home": { "existingClaim": "mine" } })).await;
    status_that(&alice, "the claim is missed", |status| {
        status.message.as_deref().is_some_and(|message| message.contains("there is no claim mine"))
    })
    .await;
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": { "name": "mine" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
    }))
    .expect("it is a claim");
    alice.api().create(&PostParams::default(), &claim).await.expect("claims can be made");
    login(&product, &alice, "echo kept >note").run().await.exits(0);
    let claims = alice.api::<PersistentVolumeClaim>();
    assert!(claims.get_opt("train-home").await.expect("the API server answers").is_none(), "none is made beside it");
    alice.loses_pod("train").await;
    login(&product, &alice, "cat note").run().await.exits(0).prints("kept\n");
    alice.api::<DevServer>().delete("train", &DeleteParams::default()).await.expect("it is there");
    eventually("the pod is gone", async || {
        alice.api::<Pod>().get_opt("train").await.expect("the API server answers").is_none().then_some(())
    })
    .await;
    assert!(claims.get_opt("mine").await.expect("the API server answers").is_some(), "it is kept");
}

#[tokio::test]
async fn a_home_may_go_with_its_pod() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.add_devserver_with("train", json!({ "home": { "ephemeral": true } })).await;
    login(&product, &alice, "pwd >note; cat note | wc -l").run().await.exits(0).prints("1\n");
    let pod: Pod = alice.has("train").await;
    alice.loses_pod("train").await;
    other_pod(&alice, &pod).await;
    login(&product, &alice, "ls").run().await.exits(0).prints("");
    let claim = alice.api::<PersistentVolumeClaim>().get_opt("train-home").await.expect("the API server answers");
    assert!(claim.is_none());
}

#[tokio::test]
async fn what_cannot_change_says_so_at_admission() {
    skip_unless!(is_real(), "the embedded cluster looks at no rules of a schema");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let made = |name: &str, home: Value| {
        serde_json::from_value::<DevServer>(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": { "name": name }, "spec": { "home": home }
        }))
        .expect("it is a DevServer")
    };
    let servers = alice.api::<DevServer>();
    for (name, home) in [
        ("train", json!({ "ephemeral": true })),
        ("sized", json!({ "size": "2Gi" })),
        ("fast", json!({ "size": 2147483648_u32, "storageClass": "fast" })),
    ] {
        servers.create(&PostParams::default(), &made(name, home)).await.expect("it is whole");
    }
    let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
    let change = async |name: &str, home: &Value| {
        let patch = Patch::Merge(json!({ "spec": { "home": home } }));
        servers.patch(name, &dry_run, &patch).await
    };
    for (name, home, why) in [
        ("train", json!({ "ephemeral": null }), "home.ephemeral cannot change"),
        ("train", json!({ "ephemeral": null, "existingClaim": "mine" }), "home.existingClaim cannot change"),
        ("sized", json!({ "size": "1Gi" }), "home.size cannot shrink"),
        ("sized", json!({ "size": 1 }), "home.size cannot shrink"),
        ("fast", json!({ "size": "2147483647" }), "home.size cannot shrink"),
        ("sized", json!({ "storageClass": "fast" }), "home.storageClass cannot change, nor be set later"),
        ("fast", json!({ "storageClass": "slow" }), "home.storageClass cannot change, nor be set later"),
        ("fast", json!({ "storageClass": null }), "home.storageClass cannot change, nor be set later"),
    ] {
        let refused = change(name, &home).await.expect_err("it is refused");
        assert!(refused.to_string().contains(why), "{name} {home}: {refused}");
    }
    for (name, home) in [
        ("sized", json!({ "size": "2048Mi" })),
        ("sized", json!({ "size": 2147483649_u32 })),
        ("sized", json!({ "size": null })),
        ("fast", json!({ "size": "3Gi", "storageClass": "fast" })),
    ] {
        change(name, &home).await.unwrap_or_else(|why| panic!("{name} {home}: {why}"));
    }
}
