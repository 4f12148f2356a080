//! How a DevServer's pod ends that its owner did not end: what its status, `devctl describe` and the next login say of
//! it, and what to do. What a control plane writes when it takes a pod away is written by the test.

use bastion::api::{DevServer, DevServerStatus, DevServerUser, Phase};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::Api;
use kube::api::{EvictParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Product, Ssh, User, eventually, is_real, skip_unless};

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
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let gone = is_disrupted(&alice, "PreemptionByScheduler").await;
    tells(&alice, gone, "Preempted", &format!("for a pod of higher priority; {NOT_HERS}")).await;
}

#[tokio::test]
async fn a_pod_whose_node_is_lost_is_told_as_such() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let gone = is_disrupted(&alice, "DeletionByTaintManager").await;
    tells(&alice, gone, "NodeLost", &format!("does not answer or was taken out of service; {NOT_HERS}")).await;
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
