//! Who gets in, and where she lands.

use std::path::PathBuf;

use crate::harness::{Agent, Product, Ssh, eventually, keygen};

#[tokio::test]
async fn a_name_after_the_plus_is_her_devserver() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("echo default >where").run().await.exits(0);
    alice.add_devserver("mydev").await;
    let login = format!("{}+mydev", alice.name());
    let mydev = || alice.shell().login(&login);
    mydev().command("test -e where || echo elsewhere; echo mydev >where").run().await.exits(0).prints("elsewhere\n");
    mydev().command("cat where").run().await.exits(0).prints("mydev\n");
    alice.ssh("cat where").run().await.exits(0).prints("default\n");
}

#[tokio::test]
async fn a_devserver_that_is_not_there_is_answered_with_those_that_are() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.add_devserver("mydev").await;
    let login = format!("{}+other", alice.name());
    let refused = alice.shell().login(&login).command("echo hi").run().await;
    refused.fails().prints("").says("other").says("dev").says("mydev");
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_user_are_refused_alike() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    bob.is_running().await;
    let attempt = async |login: &str| {
        let ssh = Ssh::new(product.front(), login).key(bob.key()).argument("-v").command("echo in");
        let refused = ssh.run().await;
        refused.exits(255).prints("");
        what_the_client_saw(refused.stderr(), login)
    };
    let wrong_key = attempt(alice.name()).await;
    let unknown_user = attempt("nobody-here").await;
    let impossible_user = attempt("../Kein Nutzer").await;
    let other_devserver = attempt(&format!("{}+mydev", alice.name())).await;
    assert!(wrong_key.iter().any(|line| line.contains("Permission denied")), "{wrong_key:?}");
    assert_eq!(wrong_key, unknown_user);
    assert_eq!(wrong_key, impossible_user);
    assert_eq!(wrong_key, other_devserver);
}

/// The lines of `ssh -v` from the authentication on, names and numbers apart.
fn what_the_client_saw(stderr: &str, login: &str) -> Vec<String> {
    let lines = stderr.lines().skip_while(|line| !line.contains("SSH2_MSG_SERVICE_ACCEPT"));
    let told = lines.filter(|line| !line.starts_with("Transferred") && !line.starts_with("Bytes per second"));
    told.map(|line| line.replace(login, "LOGIN").trim().to_owned()).collect()
}

#[tokio::test]
async fn other_methods_than_keys_are_not_offered() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let refused = Ssh::new(product.front(), alice.name()).option("IdentityFile=none").option("IdentityAgent=none");
    refused.command("echo in").run().await.exits(255).prints("").says("Permission denied (publickey).");
}

#[tokio::test]
async fn every_modern_kind_of_key_gets_in() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let users: kube::Api<bastion::api::DevServerUser> = kube::Api::all(product.client());
    let kinds = ["ecdsa", "rsa", "ed25519"];
    let keys: Vec<PathBuf> =
        kinds.iter().map(|kind| keygen(product.folder(), &format!("{}-{kind}", alice.name()), kind)).collect();
    let public: Vec<String> =
        keys.iter().map(|key| std::fs::read_to_string(key.with_extension("pub")).expect("it was written")).collect();
    let patch = kube::api::Patch::Merge(serde_json::json!({"spec": {"publicKeys": public}}));
    users.patch(alice.name(), &kube::api::PatchParams::default(), &patch).await.expect("users can be changed");
    for key in &keys {
        eventually("the key is known", async || {
            let ssh = Ssh::new(product.front(), alice.name()).key(key).command("echo in");
            (ssh.run().await.text() == "in\n").then_some(())
        })
        .await;
    }
    // The key that she had is not hers any more.
    alice.ssh("echo in").run().await.exits(255).prints("");
}

#[tokio::test]
async fn an_agent_may_hold_many_keys_before_the_right_one() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let agent = Agent::start().await;
    for n in 1..20 {
        let wrong = keygen(product.folder(), &format!("{}-wrong-{n}", alice.name()), "ed25519");
        agent.add(&wrong);
    }
    agent.add(alice.key());
    let ssh = Ssh::new(product.front(), alice.name()).agent(agent.socket()).command("echo in");
    ssh.run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn a_further_login_name_leads_to_the_same_devserver() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("echo mine >whose").run().await.exits(0);
    let further = format!("Alice.{}", alice.name());
    let users: kube::Api<bastion::api::DevServerUser> = kube::Api::all(product.client());
    let patch = kube::api::Patch::Merge(serde_json::json!({"spec": {"logins": [further]}}));
    users.patch(alice.name(), &kube::api::PatchParams::default(), &patch).await.expect("users can be changed");
    eventually("the login name is known", async || {
        (alice.shell().login(&further).command("cat whose").run().await.text() == "mine\n").then_some(())
    })
    .await;
}
