//! Objects that are none of their kind, as those written before the schema refused them: they concern nobody else.

use bastion::api::{DevServer, DevServerFlavor, DevServerTeam, DevServerUser};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::{Value, json};

use crate::harness::{Product, eventually, is_real, skip_unless};

/// Objects of `K` as they are, whatever is in them.
fn raw<K: Resource<DynamicType = ()>>(client: Client, namespace: Option<&str>) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<K>(&());
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &kind),
        None => Api::all_with(client, &kind),
    }
}

async fn add<K: Resource<DynamicType = ()>>(client: Client, namespace: Option<&str>, name: &str, spec: Value) {
    let mut object = DynamicObject::new(name, &ApiResource::erase::<K>(&()));
    object.data = json!({ "spec": spec });
    raw::<K>(client, namespace).create(&PostParams::default(), &object).await.expect("nobody looks what it is");
}

#[tokio::test]
async fn an_object_that_cannot_be_read_keeps_out_nobody_else() {
    skip_unless!(!is_real(), "this cluster's schema refuses such objects");
    let product = Product::undisturbed().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    alice.is_running().await;
    let mut terminal = bob.shell().terminal(24, 100);
    terminal.types("echo $((40+2))\r").await;
    terminal.shows_row("42").await;

    let client = product.client();
    add::<DevServerFlavor>(client.clone(), None, "odd", json!({ "resources": "many" })).await;
    add::<DevServerTeam>(client.clone(), None, "odd", json!({ "members": bob.name() })).await;
    add::<DevServer>(client.clone(), Some(&alice.namespace()), "odd", json!({ "image": 7 })).await;
    let users = raw::<DevServerUser>(client.clone(), None);
    let disabled = |value: Value| Patch::Merge(json!({ "spec": { "disabled": value } }));
    let patched = users.patch(bob.name(), &PatchParams::default(), &disabled(json!("no"))).await;
    patched.expect("nobody looks what it is");

    // She whom it is about is out, and hears why while she still can.
    terminal.shows("DevServerUser cannot be read").await;
    terminal.exits(255).await;
    bob.ssh("true").run().await.fails().says("Permission denied");
    let events: Api<Event> = Api::default_namespaced(client.clone());
    eventually("an event of each", async || {
        let all = events.list(&ListParams::default()).await.expect("events can be listed");
        let told = |kind: &str| {
            all.iter().any(|event| {
                event.reason.as_deref() == Some("Unreadable")
                    && event.regarding.as_ref().is_some_and(|about| about.kind.as_deref() == Some(kind))
            })
        };
        ["DevServerFlavor", "DevServerTeam", "DevServerUser"].into_iter().all(told).then_some(())
    })
    .await;

    // The others are not, nor where these objects are in the first list that is read.
    let replica = product.serve(&[]).await;
    alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
    bob.ssh_at(&replica, "true").run().await.fails().says("Permission denied");
    let carol = product.user("carol").await;
    carol.ssh("echo in").run().await.exits(0).prints("in\n");
    let listed = alice.ssh("devctl list").run().await;
    listed.exits(0).says("DevServer `odd` cannot be read and is left out");
    assert!(listed.text().contains("dev"), "{}", listed.text());
    alice.ssh("devctl flavors").run().await.exits(0).says("DevServerFlavor `odd` cannot be read");
    let odd = alice.ssh("true").login(&format!("{}+odd", alice.name())).run().await;
    odd.fails().says("its DevServer object cannot be read");

    let healed = users.patch(bob.name(), &PatchParams::default(), &disabled(Value::Null)).await;
    healed.expect("users can be changed");
    bob.is_known_at(product.front()).await;
    bob.ssh("echo back").run().await.exits(0).prints("back\n");
}
