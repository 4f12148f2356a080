//! What a DevServer may be told when it is made, and what of that can change.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::PostParams;
use serde_json::json;

use super::{devctl, devserver, make};
use crate::harness::{FLAVOR, Input, eventually, has_agents, skip_unless, user};

#[tokio::test]
async fn every_setting_has_its_option() {
    let alice = user("alice").await;
    devctl(&alice, "list").run().await.exits(0);
    let options = "--shm-size 64Mi --user 1000:100 --sudo=false --env A=b --env-secret T=hub/token:optional --volume \
                   data:/data:ro --home-path /root --ephemeral-home --when-idle nothing --startup-script -";
    // More lines than anybody types.
    let script = format!("#!/bin/sh\n{}", "  # indented\n".repeat(3_000));
    let create = devctl(&alice, &format!("create all --flavor {FLAVOR} {options}"));
    create.input(Input::Bytes(script.clone().into_bytes())).run().await.exits(0).says("`all` was created");
    let mut spec = serde_json::to_value(devserver(&alice, "all").await.spec).expect("it is JSON");
    assert_eq!(spec["startupScript"].take(), script);
    let secret = json!({"name": "hub", "key": "token", "optional": true});
    let expected = json!({
        "flavor": FLAVOR, "shm": "64Mi", "user": {"uid": 1000, "gid": 100, "sudo": false},
        "env": [{"name": "A", "value": "b"}, {"name": "T", "valueFrom": {"secretKeyRef": secret}}],
        "volumes": [{"claim": "data", "mountPath": "/data", "readOnly": true}],
        "home": {"ephemeral": true, "mountPath": "/root"}, "lifecycle": {"idle": {"action": "None"}},
        "startupScript": null,
    });
    assert_eq!(spec, expected);
    let described = devctl(&alice, "describe all").run().await.exits(0).text();
    for text in ["ephemeral: empty after each start", "uid 1000, gid 100, no sudo", "3001 lines", "64Mi"] {
        assert!(described.contains(text), "{text}: {described}");
    }

    let resets =
        ["startup-script", "user", "sudo", "shm-size", "home-path", "when-idle"].map(|one| format!("--reset {one}"));
    let changes = format!("update all {} --unset-env A --remove-volume /data --yes", resets.join(" "));
    devctl(&alice, &changes).run().await.exits(0).says("`all` is changed");
    let spec = devserver(&alice, "all").await.spec;
    assert_eq!(
        (spec.startup_script, spec.user, spec.shm, spec.volumes.len(), spec.env.len()),
        (None, None, None, 0, 1)
    );
    assert!(spec.home.is_some_and(|home| home.ephemeral && home.mount_path.is_none()));

    for (option, sentence) in [
        ("--home-class fast", "the storage class of a home cannot change"),
        ("--home-claim other", "a home cannot move to another claim"),
    ] {
        devctl(&alice, &format!("update all {option}")).run().await.exits(2).says(sentence).says("devctl create");
    }
    devctl(&alice, "update all --home-size 2Gi").run().await.exits(2).says("is ephemeral, and has no size");
    devctl(&alice, "update all --ephemeral-home").run().await.exits(0).says("already has these settings");
    devctl(&alice, "update all --unset-env NONE").run().await.exits(3).says("no variable NONE");
    devctl(&alice, "update all --user root").run().await.exits(2).says("id -u");
    devctl(&alice, "create y --home-claim a --home-size 1Gi").run().await.exits(2).says("--home-size");
    devctl(&alice, "create y --startup-script setup.sh").run().await.exits(2).says("--startup-script - <FILE");
    let long = Input::Bytes(vec![b'x'; 70_000]);
    devctl(&alice, "create y --startup-script -").input(long).run().await.exits(2).says("64 KiB");
    let latin = Input::Bytes(b"echo caf\xe9\n".to_vec());
    devctl(&alice, "create y --startup-script -").input(latin).run().await.exits(2).says("not UTF-8 text");

    devctl(&alice, "delete all").run().await.exits(2).says("`--yes` says so");
    devctl(&alice, "suspend all").run().await.exits(2).says("What is in the home of `all` is lost").says("`--yes`");
    let deleted = devctl(&alice, "delete all --with-home --yes").run().await;
    deleted.exits(0).says("what was in its home with it: it was ephemeral");
    assert!(!deleted.stderr().contains("kept"), "{}", deleted.stderr());
}

#[tokio::test]
async fn a_claim_that_was_there_before_is_not_deleted() {
    let alice = user("alice").await;
    devctl(&alice, "list").run().await.exits(0);
    let claim = json!({"metadata": {"name": "mine"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    let claim: PersistentVolumeClaim = serde_json::from_value(claim).expect("it is one");
    alice.api().create(&PostParams::default(), &claim).await.expect("the API server takes it");
    make(&alice, "own", "--home-claim mine").await;
    assert!(devctl(&alice, "describe own").run().await.exits(0).text().contains("mine"));
    devctl(&alice, "delete own --with-home").run().await.exits(0).says("Its home mine is kept");
    alice.has::<PersistentVolumeClaim>("mine").await;
}

#[tokio::test]
async fn what_is_used_is_told() {
    skip_unless!(has_agents(), "pods without the agent measure nothing");
    let alice = user("alice").await;
    make(&alice, "busy", "").await;
    let row = eventually("what it uses", async || {
        let text = devctl(&alice, "top").run().await.exits(0).text();
        let row = text.lines().find(|line| line.starts_with("busy"))?.to_owned();
        row.contains("Mi").then_some(row)
    })
    .await;
    assert!(row.contains("Running"), "{row}");
    let wide = devctl(&alice, "list -o wide").run().await.exits(0).text();
    let header = wide.lines().next().expect("it has one");
    assert!(header.contains("IN USE") && header.contains("LEFT"), "{wide}");
}
