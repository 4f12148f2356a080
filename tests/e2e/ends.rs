//! How a DevServer's pod ends that its owner did not end: what its status, `devctl describe` and the next login say of
//! it, and what to do. What a control plane writes when it takes a pod away is written by the test where the embedded
//! cluster has none that would.

use std::process::Command;

use bastion::api::user::DevServerDefaults;
use bastion::api::{DevServer, DevServerStatus, DevServerUser, Phase};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::flavors::{Device, add_flavor, flavors, node};
use crate::harness::{Product, Ssh, User, eventually, is_real, skip_unless};
use crate::resilience::switch;

const NOT_HERS: &str = "nothing is to be done about that, but tell an administrator if it happens often";

async fn pod_uid(user: &User) -> Option<String> {
    user.has::<Pod>("dev").await.metadata.uid
}

/// Waits until the next pod runs, and looks at what is told of the end of the one before it, `gone`.
async fn tells(user: &User, gone: Option<String>, reason: &str, words: &str) {
    let status = eventually("the next pod, and how the last one ended", async || {
        let status = user.has::<DevServer>("dev").await.status?;
        let is_next = status.phase == Phase::Running && status.pod_uid != gone;
        (is_next && status.last_end.is_some()).then_some(status)
    })
    .await;
    let end = status.last_end.expect("it was waited for");
    assert_eq!(end.reason, reason, "{}", end.message);
    assert!(end.message.contains(words), "{}", end.message);

    let next = user.ssh("echo in").run().await;
    next.exits(0).prints("in\n").says("your DevServer `dev` ended at ").says(words);
    let described = user.ssh("devctl describe dev").run().await.exits(0).text();
    let line = described.lines().find(|line| line.starts_with("Last end")).unwrap_or_default();
    assert!(line.contains(words), "{described}");
}

/// Writes into the pod's status what `change` says, as a control plane does before it takes a pod away.
async fn is_written(user: &User, change: Value) {
    let patch = Patch::Strategic(json!({ "status": change }));
    let written = user.api::<Pod>().patch_status("dev", &PatchParams::default(), &patch).await;
    written.expect("an administrator may write it");
}

fn target(reason: &str) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!([{
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": "so it is", "lastTransitionTime": now
    }])
}

/// The pod is taken away for this reason.
async fn is_disrupted(user: &User, reason: &str) -> Option<String> {
    user.is_running().await;
    let gone = pod_uid(user).await;
    is_written(user, json!({ "conditions": target(reason) })).await;
    user.loses_pod("dev").await;
    gone
}

#[tokio::test]
async fn a_pod_that_is_evicted_by_the_api_is_told_as_such() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let gone = pod_uid(&alice).await;
    alice.api::<Pod>().evict("dev", &EvictParams::default()).await.expect("it may be evicted");
    let words = format!("was emptied, by an administrator or by what adds and removes nodes; {NOT_HERS}");
    tells(&alice, gone, "Evicted", &words).await;
}

#[tokio::test]
async fn a_pod_that_had_to_make_room_is_told_as_such() {
    skip_unless!(!is_real(), "its scheduler does it");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let gone = is_disrupted(&alice, "PreemptionByScheduler").await;
    tells(&alice, gone, "Preempted", &format!("for a pod of higher priority; {NOT_HERS}")).await;
}

#[tokio::test]
async fn a_pod_that_makes_room_says_so_to_who_is_in_it_and_until_there_is_room_again() {
    skip_unless!(is_real(), "the embedded cluster's scheduler knows no priorities");
    let product = Product::shared().await;
    let client = product.client();
    let name = product.stranger("scarce").name().to_owned();
    let resource = format!("e2e.devserver.io/{name}");
    let device = Device::add(client.clone(), &resource, 1).await;
    add_flavor(client.clone(), &name, json!({ "resources": { "limits": { (&resource): "1" } } })).await;
    let alice =
        product.user_with("alice", DevServerDefaults { flavor: Some(name.clone()), ..Default::default() }).await;
    alice.is_running().await;
    let gone = pod_uid(&alice).await;
    let session = alice.ssh("echo up; sleep 98920").start();
    session.prints("up\n").await;

    let classes: Api<PriorityClass> = Api::all(client.clone());
    let class = json!({ "metadata": { "name": name }, "value": 1000 });
    let class = serde_json::from_value(class).expect("it is a priority class");
    classes.create(&PostParams::default(), &class).await.expect("priority classes can be made");
    let other = json!({
        "metadata": { "name": "urgent" },
        "spec": {
            "priorityClassName": name,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "urgent", "image": "localhost/dev:1", "command": ["sleep", "1000"],
                "resources": { "limits": { (&resource): "1" } },
            }],
        },
    });
    let other: Pod = serde_json::from_value(other).expect("it is a pod");
    // Admission hears of the class a moment later.
    eventually("a pod of that class", async || alice.api::<Pod>().create(&PostParams::default(), &other).await.ok())
        .await;
    let had_to = "it had to make room on node ";
    session.finish().await.fails().says("the pod of your DevServer `dev` is gone: ").says(had_to);
    let next = alice.ssh("echo next").start();
    next.says("no node fits: ").await;
    let told = alice.ssh("devctl why dev").run().await.exits(0).text();
    assert!(told.contains("no node fits: ") && told.contains(&format!(": {had_to}")), "{told}");

    alice.api::<Pod>().delete("urgent", &DeleteParams::default()).await.expect("it is there");
    next.finish().await.exits(0).prints("next\n").says(" for a pod of higher priority; ").says(NOT_HERS);
    classes.delete(&name, &DeleteParams::default()).await.expect("it is there");
    let end = alice.has::<DevServer>("dev").await.status.and_then(|status| status.last_end);
    assert_eq!(end.map(|end| end.reason).as_deref(), Some("Preempted"));
    assert_ne!(pod_uid(&alice).await, gone);
    device.remove().await;
    flavors(client).delete(&name, &DeleteParams::default()).await.expect("it is there");
}

#[tokio::test]
async fn a_pod_whose_node_is_lost_is_told_as_such() {
    skip_unless!(!is_real(), "its control plane does it");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let gone = is_disrupted(&alice, "DeletionByTaintManager").await;
    tells(&alice, gone, "NodeLost", &format!("does not answer or was taken out of service; {NOT_HERS}")).await;
}

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// A node whose kubelet is stopped. Dropped, it is as it was.
struct Lost<F: Fn(&str)> {
    node: String,
    kubelet: F,
}

impl<F: Fn(&str)> Drop for Lost<F> {
    fn drop(&mut self) {
        (self.kubelet)("start");
        // The control plane may have taken it away by itself.
        let taint = format!("{UNREACHABLE}:NoExecute-");
        let _ = Command::new("kubectl").args(["taint", "node", &self.node, &taint]).output();
    }
}

#[tokio::test]
async fn a_node_that_is_lost_is_named_until_it_is_back() {
    let kubelet = switch("kubelet");
    skip_unless!(kubelet.is_some(), "BASTION_TEST_KUBE names no script that may stop the kubelet");
    let kubelet = kubelet.expect("it was checked");
    let product = Product::undisturbed().await;
    let client = product.client();
    let name = product.stranger("impatient").name().to_owned();
    // Others are given five minutes to come back.
    let toleration = json!({ "key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0 });
    add_flavor(client.clone(), &name, json!({ "resources": {}, "tolerations": [toleration] })).await;
    let alice =
        product.user_with("alice", DevServerDefaults { flavor: Some(name.clone()), ..Default::default() }).await;
    alice.is_running().await;
    let gone = pod_uid(&alice).await;

    let node = node(&client).await.name_any();
    kubelet("stop");
    let is_lost = Lost { node: node.clone(), kubelet };
    let next = alice.ssh("echo next").start();
    next.says("your pod's node does not answer; trying again").await;
    // What a control plane finds out 40 s later, and puts on one of several nodes.
    is_written(&alice, json!({ "conditions": [{ "type": "Ready", "status": "False" }] })).await;
    let taint = json!({ "key": UNREACHABLE, "effect": "NoExecute" });
    let patch = Patch::Strategic(json!({ "spec": { "taints": [taint] } }));
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.patch(&node, &PatchParams::default(), &patch).await.expect("a node can be tainted");
    let lost = format!("node {node} does not answer, so nobody knows whether the old pod still runs");
    eventually("the node is told to be lost", async || {
        let message = alice.has::<DevServer>("dev").await.status?.message?;
        message.contains(&lost).then_some(())
    })
    .await;
    next.says(&lost).await;
    for verb in ["describe", "why"] {
        let told = alice.ssh(&format!("devctl {verb} dev")).run().await.exits(0).text();
        assert!(told.contains(&lost), "{told}");
    }
    drop(is_lost);
    next.finish().await.exits(0).prints("next\n").says(&format!("node {node} does not answer; {NOT_HERS}"));
    assert_ne!(pod_uid(&alice).await, gone);
    flavors(client).delete(&name, &DeleteParams::default()).await.expect("it is there");
}

/// A kubelet that evicts ends the pod itself and leaves it there.
#[tokio::test]
async fn a_pod_that_its_node_ended_is_told_with_what_the_node_says() {
    skip_unless!(!is_real(), "a kubelet puts right what others write of its pod");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let gone = pod_uid(&alice).await;
    let said = "The node was low on resource: ephemeral-storage. ";
    let change = json!({
        "phase": "Failed", "reason": "Evicted", "message": said, "conditions": target("TerminationByKubelet")
    });
    is_written(&alice, change).await;
    let words = "low on resource: ephemeral-storage; keep large files in the home or in a volume, not beside them";
    tells(&alice, gone, "Evicted", words).await;
}

#[tokio::test]
async fn a_pod_that_a_quota_refuses_says_what_to_do_and_comes_when_there_is_room() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let users: Api<DevServerUser> = Api::all(product.client());
    let quota = Patch::Merge(json!({ "spec": { "quotas": { "resourceQuota": { "hard": { "pods": "1" } } } } }));
    users.patch(alice.name(), &PatchParams::default(), &quota).await.expect("users can be changed");
    eventually("one pod is allowed", async || {
        let quota = alice.has::<ResourceQuota>("dev-user").await;
        (quota.status?.hard?.get("pods")?.0 == "1").then_some(())
    })
    .await;
    alice.add_devserver("train").await;
    let refused = |status: &DevServerStatus| {
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        ready.is_some_and(|ready| ready.reason == "QuotaExceeded")
    };
    let status = eventually("a refusal", async || {
        let status = alice.has::<DevServer>("train").await.status?;
        refused(&status).then_some(status)
    })
    .await;
    let words = "the quota dev-user is used up: asked for pods 1, in use pods 1, allowed pods 1; `devctl top` shows your \
                 quota; suspend or delete another DevServer, or ask your administrator";
    assert_eq!((status.phase, status.message.as_deref()), (Phase::Pending, Some(words)));

    let login =
        Ssh::new(product.front(), &format!("{}+train", alice.name())).key(alice.key()).command("echo in").start();
    login.says("`devctl top` shows your quota; suspend or delete another DevServer").await;
    for verb in ["describe", "why"] {
        let told = alice.ssh(&format!("devctl {verb} train")).run().await.exits(0).text();
        assert!(told.contains("suspend or delete another DevServer"), "{told}");
    }
    alice.ssh("devctl suspend dev --yes").run().await.exits(0);
    login.finish().await.exits(0).prints("in\n");
}
