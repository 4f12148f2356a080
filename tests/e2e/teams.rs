//! What a team says for its members.

use bastion::api::{DevServer, DevServerTeam, DevServerUser};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::{Product, User, eventually};

async fn pods_allowed(user: &User, most: &str) {
    eventually(&format!("{most} pods are allowed"), async || {
        let quota = user.has::<ResourceQuota>("dev-user").await;
        (quota.spec?.hard?.get("pods")?.0 == most).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_team_gives_its_members_defaults_and_limits() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let name = format!("team-{}", alice.name());
    let teams: Api<DevServerTeam> = Api::all(product.client());
    let team = |members: Value| {
        json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServerTeam", "metadata": { "name": name },
            "spec": {
                "members": members,
                "devServer": { "home": { "mountPath": "/home/team" } },
                "quotas": { "resourceQuota": { "hard": { "pods": "7" } } },
            },
        })
    };
    let made = serde_json::from_value(team(json!([alice.name()]))).expect("it is a team");
    teams.create(&PostParams::default(), &made).await.expect("teams can be made");
    eventually("bastion knows the team", async || {
        alice.is_known_at(product.front()).await;
        teams.get_opt(&name).await.expect("the API server answers").map(drop)
    })
    .await;
    pods_allowed(&alice, "7").await;
    pods_allowed(&bob, "20").await;
    alice.is_running().await;
    let server: DevServer = alice.has("dev").await;
    assert_eq!(server.spec.home.and_then(|home| home.mount_path).as_deref(), Some("/home/team"));

    // Her own word goes before, and who leaves the team is as before.
    let own = json!({ "spec": { "quotas": { "resourceQuota": { "hard": { "pods": "5" } } } } });
    let users: Api<DevServerUser> = Api::all(product.client());
    users.patch(alice.name(), &PatchParams::default(), &Patch::Merge(own)).await.expect("users can be changed");
    pods_allowed(&alice, "5").await;
    let patch = |members: Value| Patch::Merge(json!({ "spec": { "members": members } }));
    teams.patch(&name, &PatchParams::default(), &patch(json!([bob.name()]))).await.expect("teams can be changed");
    pods_allowed(&bob, "7").await;
    teams.delete(&name, &DeleteParams::default()).await.expect("it is there");
    pods_allowed(&bob, "20").await;
}
