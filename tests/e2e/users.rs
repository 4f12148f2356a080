//! What a user's object allows her: to be here at all, how many DevServers, of which flavors, and which roles.

use bastion::api::{DevServer, DevServerUser, Phase, names};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::harness::{Product, User, eventually};

async fn refusal(user: &User, devserver: &str) -> String {
    eventually("a refusal", async || {
        let status = user.has::<DevServer>(devserver).await.status?;
        let ready = status.conditions.first()?;
        (status.phase == Phase::Failed && ready.reason == "Limit").then_some(status.message?)
    })
    .await
}

async fn runs(user: &User, devserver: &str) {
    eventually("it runs", async || {
        let status = user.has::<DevServer>(devserver).await.status?;
        (status.phase == Phase::Running).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_disabled_user_is_not_let_in_until_she_is_enabled() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    says_what_has_no_effect(&product, &alice).await;
    product.change(&alice, json!({ "disabled": true })).await;
    eventually("she is kept out", async || {
        let login = alice.ssh("echo in").run().await;
        login.stderr().contains("Permission denied").then_some(())
    })
    .await;
    assert!(alice.api::<DevServer>().get_opt("dev").await.expect("the API server answers").is_some(), "it stays");
    // Whoever has her account's token, a program that she left in her pod, has no rights.
    let has_rights = async || alice.has::<RoleBinding>("dev-user").await.subjects.is_some_and(|all| !all.is_empty());
    eventually("her rights are gone", async || (!has_rights().await).then_some(())).await;
    product.change(&alice, json!({ "disabled": null })).await;
    eventually("she has them again", async || has_rights().await.then_some(())).await;
    alice.is_known_at(product.front()).await;
    alice.ssh("echo in").run().await.exits(0).prints("in\n");
}

/// Types of conditions, and their statuses.
type Told<'a> = [(&'a str, &'a str)];

/// Her object was ready, and told nothing of a key or a login that lets nobody in.
async fn says_what_has_no_effect(product: &Product, alice: &User) {
    let bob = product.user("bob").await;
    let users: Api<DevServerUser> = Api::all(product.client());
    let before = users.get(alice.name()).await.expect("she is there").spec.public_keys;
    let with_nonsense: Vec<_> = before.iter().map(String::as_str).chain(["ssh-ed25519 nonsense"]).collect();
    let odd = json!({ "publicKeys": with_nonsense, "logins": [bob.name()], "accounts": { "nowhere": "octocat" } });
    product.change(alice, odd).await;
    let told = async |fits: &dyn Fn(&Told<'_>, &str) -> bool| {
        eventually("the conditions", async || {
            let status = users.get(alice.name()).await.expect("she is there").status?;
            let conditions = status.conditions.iter().map(|one| (one.type_.as_str(), one.status.as_str()));
            fits(&conditions.collect::<Vec<_>>(), status.message.as_deref().unwrap_or_default()).then_some(())
        })
        .await;
    };
    let login = format!("{}.shared", alice.name());
    told(&|conditions, message| {
        let failed = ["KeysReadable", "LoginsUnique", "AccountsKnown"];
        failed.iter().all(|type_| conditions.contains(&(type_, "False")))
            && conditions.contains(&("Ready", "True"))
            && ["line 2: ", "another user's name", "`nowhere`"].iter().all(|part| message.contains(part))
    })
    .await;
    // Another user comes to have it, and has it no more: nothing of hers changes.
    product.change(alice, json!({ "publicKeys": before, "logins": [login], "accounts": null })).await;
    told(&|conditions, _| conditions.contains(&("LoginsUnique", "True"))).await;
    product.change(&bob, json!({ "logins": [login] })).await;
    told(&|conditions, message| conditions.contains(&("LoginsUnique", "False")) && !message.contains(bob.name())).await;
    product.change(&bob, json!({ "logins": null })).await;
    told(&|conditions, message| conditions.contains(&("LoginsUnique", "True")) && message.is_empty()).await;
    product.change(alice, json!({ "logins": null })).await;
}

#[tokio::test]
async fn limits_are_told_and_room_is_taken_when_there_is_some() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    product.change(&alice, json!({ "limits": { "devServers": 2, "maxTimeToLive": "24h" } })).await;
    alice.add_devserver("second").await;
    runs(&alice, "second").await;
    // A second is what creation times are counted in, and names decide within one.
    alice.add_devserver("third").await;
    let told = refusal(&alice, "third").await;
    assert!(told.ends_with("may have 2 DevServers, and this is one more; delete one of dev, second"), "{told}");
    alice.api::<DevServer>().delete("second", &DeleteParams::default()).await.expect("it is there");
    runs(&alice, "third").await;

    product.change(&alice, json!({ "limits": { "devServers": 9, "flavors": ["large"] } })).await;
    alice.add_devserver("fourth").await;
    let told = refusal(&alice, "fourth").await;
    assert!(told.contains("may not use flavor") && told.contains("these are allowed: large;"), "{told}");
    product.change(&alice, json!({ "limits": { "flavors": null, "maxTimeToLive": "24h" } })).await;
    runs(&alice, "fourth").await;

    alice.add_devserver_with("fifth", json!({ "lifecycle": { "timeToLive": "2d" } })).await;
    let told = refusal(&alice, "fifth").await;
    assert!(told.contains("timeToLive 2d is longer than the 24h"), "{told}");
}

#[tokio::test]
async fn further_roles_are_bound_in_her_namespace_and_taken_back() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let role = format!("e2e-{}", alice.name());
    let roles: Api<ClusterRole> = Api::all(product.client());
    let reads = json!({
        "metadata": { "name": role }, "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }]
    });
    let reads: ClusterRole = serde_json::from_value(reads).expect("it is a role");
    roles.create(&PostParams::default(), &reads).await.expect("roles can be made");
    product.change(&alice, json!({ "roleRefs": [{ "kind": "ClusterRole", "name": role }] })).await;
    let binding = format!("dev-user:clusterrole:{role}");
    let bound: RoleBinding = alice.has(&binding).await;
    let subject = bound.subjects.expect("it has some").remove(0);
    assert_eq!(
        (subject.name, subject.namespace),
        (names::service_account(alice.name()).to_owned(), Some(alice.namespace()))
    );

    product.change(&alice, json!({ "roleRefs": null })).await;
    eventually("the binding is gone", async || {
        let binding = alice.api::<RoleBinding>().get_opt(&binding).await.expect("the API server answers");
        binding.is_none().then_some(())
    })
    .await;
    roles.delete(&role, &DeleteParams::default()).await.expect("it is there");
}
