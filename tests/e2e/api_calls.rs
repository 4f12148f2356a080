//! What a login costs the API server, and in whose name it is done.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Product, eventually, has_agents, is_real};

#[tokio::test]
async fn a_login_to_a_running_devserver_is_one_call_in_the_users_own_name() {
    let product = Product::undisturbed().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    // A replica that has not met her yet: where sessions share an exec, only the first opens it.
    let replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let before = product.audit_log().len();
    for _ in 0..2 {
        alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
    }
    let new = async || {
        let log = product.audit_log();
        log[before..].lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>()
    };
    let is_exec = |event: &&Value| event["objectRef"]["subresource"] == "exec";
    let exec = eventually("the exec in the audit log", async || new().await.iter().find(is_exec).cloned()).await;
    let account = format!("system:serviceaccount:{}:{}", alice.namespace(), alice.name());
    assert_eq!(exec["impersonatedUser"]["username"], account.as_str(), "{exec}");

    let events = new().await;
    // An event tells of a stage of a call.
    let hers = events.iter().filter(|event| event["objectRef"]["namespace"] == alice.namespace().as_str());
    let calls: BTreeSet<&str> = hers.filter_map(|event| event["auditID"].as_str()).collect();
    // The agent's carrier takes the second login too.
    assert_eq!(calls.len(), if has_agents() { 1 } else { 2 }, "{events:#?}");
    if !is_real() {
        let lists: Vec<&Value> = events.iter().filter(|event| event["verb"] == "list").collect();
        assert!(lists.is_empty(), "{lists:#?}");
    }
}
