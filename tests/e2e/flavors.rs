//! What a flavor's status tells of the room there is, and who may use it.

use bastion::api::{DevServer, DevServerFlavor, DevServerFlavorStatus, DevServerSpec, Phase, Schedulable};
use k8s_openapi::api::core::v1::{Container, LimitRange, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::harness::{Product, User, eventually, is_real, skip_unless};

/// A device that a node claims to have.
pub(crate) struct Device {
    client: Client,
    resource: String,
    node: String,
}

impl Device {
    pub(crate) async fn add(client: Client, resource: &str, count: u32) -> Self {
        let node = node(&client).await.name_any();
        let device = Self { client, resource: resource.to_owned(), node };
        device.offer(json!(count.to_string())).await;
        device
    }

    /// It claims that no more.
    pub(crate) async fn remove(self) {
        self.offer(Value::Null).await;
    }

    async fn offer(&self, count: Value) {
        let offers = json!({ (&self.resource): count });
        let patch = Patch::Merge(json!({ "status": { "capacity": offers, "allocatable": offers } }));
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.patch_status(&self.node, &PatchParams::default(), &patch).await.expect("a node's status can be patched");
    }
}

pub(crate) async fn node(client: &Client) -> Node {
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.list(&ListParams::default()).await.expect("nodes can be listed").items.remove(0)
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
    let resource = format!("e2e.devserver.io/{name}");
    add_flavor(client.clone(), &name, json!({ "resources": { "limits": { (&resource): "2" } } })).await;
    let status = told(&client, &name, Schedulable::No, 0).await;
    assert_eq!(status.reason.as_deref(), Some("TooLarge"), "{status:?}");

    let device = Device::add(client.clone(), &resource, 5).await;
    let status = told(&client, &name, Schedulable::Yes, 2).await;
    assert_eq!(status.message.as_deref(), Some("2 more fit"));
    add_devserver(&alice, "one", &name).await;
    told(&client, &name, Schedulable::Yes, 1).await;
    add_devserver(&alice, "two", &name).await;
    let status = told(&client, &name, Schedulable::No, 0).await;
    assert!(status.message.as_deref().is_some_and(|message| message.contains("is full")), "{status:?}");
    alice.api::<DevServer>().delete("one", &DeleteParams::default()).await.expect("it is there");
    told(&client, &name, Schedulable::Yes, 1).await;

    device.remove().await;
    flavors(client).delete(&name, &DeleteParams::default()).await.expect("it is there");
}

/// How many of this flavor fit on what the node has of `resource`, before and after one of them is made.
async fn is_counted(product: &Product, resource: &str, wanted: i32) {
    let client = product.client();
    let alice = product.user("alice").await;
    alice.is_running().await;
    let offered = node(&client).await.status.and_then(|status| status.allocatable?.remove(resource));
    let all: i32 = offered.expect("the node has some").0.parse().expect("devices are counted");
    let name = format!("gpus-{}", alice.name());
    add_flavor(client.clone(), &name, json!({ "resources": { "limits": { (resource): wanted.to_string() } } })).await;
    told(&client, &name, Schedulable::Yes, all / wanted).await;
    add_devserver(&alice, "train", &name).await;
    alice.shell_in("train").command("echo in").run().await.exits(0).prints("in\n");
    let left = all / wanted - 1;
    let status = told(&client, &name, if left > 0 { Schedulable::Yes } else { Schedulable::No }, left).await;
    assert_eq!(status.devices, Some(format!("{wanted} {resource}")));
    let listed = alice.ssh("devctl flavors").run().await.exits(0).text();
    let row = listed.lines().find(|row| row.starts_with(&name)).unwrap_or_default();
    assert!(row.contains(&format!("{wanted} {resource}")), "{listed}");
    flavors(client).delete(&name, &DeleteParams::default()).await.expect("it is there");
}

#[tokio::test]
async fn the_gpus_of_a_node_are_counted() {
    skip_unless!(is_real(), "the embedded cluster's node has none");
    let product = Product::shared().await;
    is_counted(&product, "nvidia.com/gpu", 2).await;
}

#[tokio::test]
async fn the_slices_of_a_gpu_are_counted_by_their_profile() {
    let product = Product::shared().await;
    let slices = Device::add(product.client(), "nvidia.com/mig-1g.5gb", 3).await;
    is_counted(&product, "nvidia.com/mig-1g.5gb", 3).await;
    slices.remove().await;
}

#[tokio::test]
async fn a_flavor_tells_that_nodes_may_be_added_and_which_default_is_taken() {
    let product = Product::undisturbed_with(&["operator.adds_nodes=true"]).await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let client = product.client();
    let [first, second, large] = ["0", "1", "large"].map(|name| format!("{name}-{}", alice.name()));
    for name in [&second, &first] {
        add_flavor(client.clone(), name, json!({ "resources": {}, "default": true })).await;
    }
    let requests = json!({ "cpu": "5m", "memory": "900Ti" });
    add_flavor(client.clone(), &large, json!({ "resources": { "requests": requests } })).await;

    let status = told(&client, &large, Schedulable::Autoscaled, 0).await;
    let message = status.message.unwrap_or_default();
    assert_eq!(status.reason.as_deref(), Some("NodesAreAdded"), "{message}");
    assert!(message.starts_with("no node is large enough: it takes 921600Gi memory"), "{message}");
    assert!(message.ends_with("; the cluster may add one"), "{message}");

    let default = async |name: &str| {
        let status = flavors(client.clone()).get(name).await.expect("it is there").status?;
        let default = status.conditions.into_iter().find(|condition| condition.type_ == "Default")?;
        Some((default.status, default.reason, default.message))
    };
    eventually("the second is told to be no default", async || {
        let (status, reason, message) = default(&second).await?;
        (status == "False" && reason == "AnotherComesFirst" && message.starts_with(&first)).then_some(())
    })
    .await;
    let (status, reason, _) = eventually("the first is told of", async || default(&first).await).await;
    assert_eq!((status.as_str(), reason.as_str()), ("True", "FirstByName"));
    let made = alice.api().create(&PostParams::default(), &DevServer::new("train", DevServerSpec::default())).await;
    made.expect("DevServers can be made");
    let pod = alice.has::<Pod>("train").await;
    assert_eq!(pod.annotations().get("devserver.io/flavor"), Some(&first));
    for name in [&first, &second, &large] {
        flavors(client.clone()).delete(name, &DeleteParams::default()).await.expect("it is there");
    }
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
