//! Nobody reaches by a verb what is not hers, not even its name.

use bastion::api::{DevServer, DevServerUser};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{devctl, make};
use crate::harness::{Product, eventually, is_real};

#[tokio::test]
async fn another_users_devserver_is_not_found_whatever_its_name() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    make(&bob, "secret", "").await;
    make(&alice, "mine", "").await;
    let path = format!("../../{}/devservers/secret", bob.namespace());
    let verbs =
        ["describe", "why", "idle", "logs", "delete", "suspend", "resume", "extend", "snooze", "update --env A=b"];
    for name in ["secret", &path, &format!("{}/secret", bob.namespace()), &format!("secret.{}", bob.name())] {
        for verb in verbs {
            let (verb, options) = verb.split_once(' ').unwrap_or((verb, ""));
            let finished = devctl(&alice, &format!("{verb} '{name}' {options}")).run().await;
            finished.exits(3).prints("").says("you have no DevServer").says("you have: mine");
        }
        let enters = [
            format!("ssh '{name}' true"),
            format!("exec '{name}' -- true"),
            format!("shells '{name}'"),
            format!("shells '{name}' -o json"),
        ];
        for enter in enters {
            devctl(&alice, &enter).run().await.exits(255).prints("").says("you have no DevServer");
        }
        for share in [String::new(), alice.name().to_owned(), format!("--read-only {}", alice.name())] {
            let finished = devctl(&alice, &format!("share '{name}' {share}")).run().await;
            finished.exits(3).prints("").says("you have no DevServer").says("you have: mine");
        }
    }
    for kind in ["devservers", "running"] {
        devctl(&alice, &format!("complete {kind}")).run().await.exits(0).prints("mine\n");
    }
    let list = devctl(&alice, "list -o json").run().await.exits(0).text();
    assert!(!list.contains("secret"), "{list}");
    let theirs = bob.api::<DevServer>().get("secret").await.expect("nobody touched it");
    assert!(theirs.spec.env.is_empty() && theirs.spec.lifecycle.is_none() && theirs.spec.share.is_empty());
    // The cluster was asked as her, and its audit log says so, where it tells of more than execs.
    let asked = format!("system:serviceaccount:{}:{}", alice.namespace(), alice.name());
    assert!(is_real() || product.audit_log().contains(&asked));
}

#[tokio::test]
async fn a_key_with_a_forced_command_runs_that_instead() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let key = crate::harness::public(alice.key());
    let users: Api<DevServerUser> = Api::all(product.client());
    let keys = json!({"spec": {"publicKeys": [format!("command=\"echo forced\" {}", key.trim())]}});
    users.patch(alice.name(), &PatchParams::default(), &Patch::Merge(keys)).await.expect("she is there");
    eventually("the forced command", async || {
        (devctl(&alice, "create mine").run().await.text() == "forced\n").then_some(())
    })
    .await;
    alice.ssh("help").run().await.exits(0).prints("forced\n");
    let mine = alice.api::<DevServer>().get_opt("mine").await.expect("the API server answers");
    let made_before = mine.is_some();
    devctl(&alice, "delete mine").run().await.prints("forced\n");
    let mine = alice.api::<DevServer>().get_opt("mine").await.expect("the API server answers");
    assert_eq!(mine.is_some(), made_before);
}
