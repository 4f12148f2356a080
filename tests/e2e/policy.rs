//! What an administrator lets one user do by SSH (`spec.ssh` of her object).

use bastion::api::DevServerUser;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Agent, Product, Ssh, User, eventually, has_agents, skip_unless, with_agents};

async fn limit(product: &Product, user: &User, ssh: Value) {
    let users: Api<DevServerUser> = Api::all(product.client());
    let patch = Patch::Merge(json!({"spec": {"ssh": ssh}}));
    users.patch(user.name(), &PatchParams::default(), &patch).await.expect("she is there");
}

#[tokio::test]
async fn a_user_may_be_kept_from_forwarding() {
    skip_unless!(has_agents(), "the pods have no agent");
    let product = Product::shared().await;
    let mut replica = product.serve(&[]).await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let agent = Agent::start().await;
    for user in [&alice, &bob] {
        agent.add(user.key());
        user.is_known_at(&replica).await;
    }
    let with_agent = |user: &User| {
        let ssh = Ssh::new(&replica, user.name()).agent(agent.socket()).argument("-A");
        ssh.command("echo ${SSH_AUTH_SOCK:+agent}")
    };
    with_agent(&alice).run().await.exits(0).prints("agent\n");
    limit(&product, &alice, json!({"portForwarding": false})).await;
    eventually("no forwards", async || {
        let refused = alice.shell_at(&replica).argument("-W").argument("localhost:1").run().await;
        refused.stderr().contains("administratively prohibited").then_some(())
    })
    .await;
    let back =
        alice.ssh_at(&replica, "true").option("ExitOnForwardFailure=yes").argument("-R").argument("0:localhost:1");
    back.run().await.exits(255).says("remote port forwarding failed");
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let jump = alice.ssh_at(&replica, "echo in").jump("dev", alice.key(), &known_hosts);
    jump.run().await.exits(255).says("administratively prohibited");
    with_agent(&alice).run().await.exits(0).prints("agent\n");

    limit(&product, &alice, json!({"agentForwarding": false})).await;
    eventually("no agent", async || (with_agent(&alice).run().await.text() == "\n").then_some(())).await;
    // Nobody else is meant.
    with_agent(&bob).run().await.exits(0).prints("agent\n");
    let connected = bob.shell_at(&replica).argument("-W").argument("localhost:1").run().await;
    assert!(!connected.stderr().contains("prohibited"), "{}", connected.stderr());
    let log = replica.server().log();
    for refused in ["refused to forward connections", "refused to forward the ssh-agent"] {
        assert!(log.contains(refused), "{refused}: {log}");
    }
}

#[tokio::test]
async fn a_users_shells_may_be_made_to_end_with_their_connections() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    limit(&product, &alice, json!({"persistentShells": false})).await;
    let mut seconds = 98451;
    eventually("a shell that ends", async || {
        seconds += 1;
        let argument = format!("{seconds}.1");
        let mut terminal = alice.shell().terminal(24, 80);
        terminal.types(&format!("sleep {argument}\r")).await;
        alice.has_processes(&argument, 1).await;
        terminal.kill().await;
        // The bastion may not have heard of the change when this one began: then it lasts, and nobody looks at it.
        eventually("its end, or nobody who looks at it", async || {
            let shells = alice.ssh("shells -o json").run().await.exits(0).text();
            let shells: Vec<Value> = serde_json::from_str(&shells).expect("it is JSON");
            let runs = |shell: &Value| shell["running"].as_str().is_some_and(|line| line.contains(&argument));
            let lasts = shells.iter().any(|shell| runs(shell) && shell["detachedSeconds"].is_number());
            let ended = alice.counts_processes(&argument).await == 0;
            (lasts || ended).then_some(ended)
        })
        .await
        .then_some(())
    })
    .await;
}
