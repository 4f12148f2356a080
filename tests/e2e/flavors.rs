//! What a flavor's status tells of the room there is, and who may use it.

use bastion::api::{DevServer, DevServerFlavor, DevServerFlavorStatus, DevServerSpec, Phase, Schedulable};
use k8s_openapi::api::core::v1::{Container, LimitRange, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::harness::{Product, User, eventually};

/// A device that a node claims to have.
struct Device {
    client: Client,
    resource: String,
    node: String,
}

impl Device {
    async fn add(client: Client, name: &str, count: u32) -> Self {
        let nodes: Api<Node> = Api::all(client.clone());
        let node = nodes.list(&ListParams::default()).await.expect("nodes can be listed").items.remove(0).name_any();
        let device = Self { client, resource: format!("e2e.devserver.io/{name}"), node };
        device.offer(json!(count.to_string())).await;
        device
    }

    async fn offer(&self, count: Value) {
        let offers = json!({ (&self.resource): count });
        let patch = Patch::Merge(json!({ "status": { "capacity": offers, "allocatable": offers } }));
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.patch_status(&self.node, &PatchParams::default(), &patch).await.expect("a node's status can be patched");
    }
}

pub(crate) fn flavors(client: Client) -> Api<DevServerFlavor> {
    Api::all(client)
}

/// One that requests little where `spec` does not say.
pub(crate) async fn add_flavor(client: Client, name: &str, mut spec: Value) {
    if spec["resources"]["requests"].is_null() {
        spec["resources"]["requests"] = json!({ "cpu": "5m", "memory": "16Mi" });
    }
    let flavor = json!({
        "apiVersion": "devserver.io/v1", "kind": "DevServerFlavor", "metadata": { "name": name }, "spec": spec
    });
    let flavor = serde_json::from_value(flavor).expect("it is a flavor");
    flavors(client).create(&PostParams::default(), &flavor).await.expect("flavors can be made");
}

async fn add_devserver(user: &User, name: &str, flavor: &str) {
    let spec = DevServerSpec { flavor: Some(flavor.to_owned()), ..DevServerSpec::default() };
    let made = user.api().create(&PostParams::default(), &DevServer::new(name, spec)).await;
    made.expect("DevServers can be made");
}

async fn told(client: &Client, name: &str, schedulable: Schedulable, free: i32) -> DevServerFlavorStatus {
    eventually(&format!("{name} is {schedulable:?}, {free} free"), async || {
        let status = flavors(client.clone()).get(name).await.expect("it is there").status?;
        (status.schedulable == schedulable && status.free == Some(free)).then_some(status)
    })
    .await
}

#[tokio::test]
async fn a_flavor_tells_how_many_more_fit() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let client = product.client();
    let name = format!("count-{}", alice.name());
    add_flavor(
        client.clone(),
        &name,
        json!({ "resources": { "limits": { (format!("e2e.devserver.io/{name}")): "2" } } }),
    )
    .await;
    let status = told(&client, &name, Schedulable::No, 0).await;
    assert_eq!(status.reason.as_deref(), Some("TooLarge"), "{status:?}");

    let device = Device::add(client.clone(), &name, 5).await;
    let status = told(&client, &name, Schedulable::Yes, 2).await;
    assert_eq!(status.message.as_deref(), Some("2 more fit"));
    add_devserver(&alice, "one", &name).await;
    told(&client, &name, Schedulable::Yes, 1).await;
    add_devserver(&alice, "two", &name).await;
    let status = told(&client, &name, Schedulable::No, 0).await;
    assert!(status.message.as_deref().is_some_and(|message| message.contains("is full")), "{status:?}");
    alice.api::<DevServer>().delete("one", &DeleteParams::default()).await.expect("it is there");
    told(&client, &name, Schedulable::Yes, 1).await;

    device.offer(Value::Null).await;
    flavors(client).delete(&name, &DeleteParams::default()).await.expect("it is there");
}

#[tokio::test]
async fn a_flavor_may_request_more_than_a_namespace_allows_to_who_says_nothing() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let by_default = json!({ "limits": [{ "type": "Container", "default": { "memory": "64Mi" } }] });
    product.change(&alice, json!({ "quotas": { "limitRange": by_default } })).await;
    eventually("the namespace's limit", async || {
        let range = alice.api::<LimitRange>().get_opt("dev-user").await.expect("the API server answers")?.spec?;
        (range.limits.first()?.default.as_ref()?.get("memory")?.0 == "64Mi").then_some(())
    })
    .await;
    let client = product.client();
    let name = format!("large-{}", alice.name());
    let requests = json!({ "cpu": "5m", "memory": "128Mi" });
    add_flavor(client.clone(), &name, json!({ "resources": { "requests": requests } })).await;
    add_devserver(&alice, "train", &name).await;
    alice.runs("train").await;
    alice.shell_in("train").command("echo in").run().await.exits(0).prints("in\n");
    let spec = alice.has::<Pod>("train").await.spec.expect("it has one");
    let limits = |container: &Container| container.resources.clone()?.limits?.remove("memory");
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        assert_eq!(limits(container).map(|memory| memory.0).as_deref(), Some("128Mi"), "{}", container.name);
    }
    flavors(client).delete(&name, &DeleteParams::default()).await.expect("it is there");
}

#[tokio::test]
async fn a_flavor_of_others_is_refused_in_words() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    for user in [&alice, &bob] {
        user.is_running().await;
    }
    let client = product.client();
    let name = format!("only-{}", bob.name());
    add_flavor(client.clone(), &name, json!({ "resources": {}, "allowedUsers": [bob.name()], "timeLimit": "2h" }))
        .await;
    add_devserver(&alice, "train", &name).await;
    let message = eventually("a refusal", async || {
        let status = alice.has::<DevServer>("train").await.status?;
        (status.phase == Phase::Failed).then_some(status.message?)
    })
    .await;
    assert!(message.starts_with(&format!("flavor {name:?} is not for {}; these are: ", alice.name())), "{message}");
    add_devserver(&bob, "train", &name).await;
    let status = eventually("bob's runs", async || {
        let status = bob.has::<DevServer>("train").await.status?;
        (status.phase == Phase::Running).then_some(status)
    })
    .await;
    let (start, end) = status.start_time.zip(status.expiration_time).expect("its time is limited");
    assert_eq!(end.0.duration_since(start.0).as_secs(), 2 * 3600);
    flavors(client).delete(&name, &DeleteParams::default()).await.expect("it is there");
}
