//! A new version on a cluster that an older one worked on. `scripts/upgrade` does it with the older version at work, on
//! a real cluster as well.

use std::collections::BTreeMap;
use std::path::Path;

use bastion::api::{DevServer, DevServerUser, Phase};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod, ResourceQuota, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;

use crate::harness::{Server, Ssh, eventually, is_real, keygen, open_client, skip_unless};

/// What `bastion dev` of 21 November 2026 (23e0351), before DevServers could sleep, had in its store when alice had
/// logged in to her default DevServer and to `train`, and bob to his: one object per line, under the name of its
/// resource. `{AGENT}` stands for where its agent was.
const BEFORE: &str = include_str!("fixtures/before_lifecycle.jsonl");

/// The store of an embedded cluster, as it is on disk.
fn restore(objects: &Path) {
    for line in BEFORE.lines() {
        let (resource, object) = line.split_once(' ').expect("a resource and an object");
        let object = object.replace("{AGENT}", env!("CARGO_BIN_EXE_bastion-agent"));
        let parsed: Value = serde_json::from_str(&object).expect("it is JSON");
        let metadata = &parsed["metadata"];
        let name = metadata["name"].as_str().expect("it has a name");
        let folder = objects.join(resource).join(metadata["namespace"].as_str().unwrap_or("_"));
        std::fs::create_dir_all(&folder).expect("the folder is ours");
        std::fs::write(folder.join(format!("{name}.json")), object).expect("the folder is ours");
    }
}

/// The identity of each object of a kind in users' namespaces.
async fn identities<K: Resource<DynamicType = ()>>(client: &Client) -> BTreeMap<String, String> {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<K>(&()));
    let objects = all.list(&ListParams::default()).await.expect("the API server answers");
    let of_users = objects.iter().filter(|object| object.namespace().is_some_and(|name| name.starts_with("dev-")));
    of_users
        .map(|object| {
            let key = format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any());
            (key, object.uid().unwrap_or_default())
        })
        .collect()
}

/// The same of the objects that were there before.
fn identities_before() -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let objects = BEFORE.lines().filter_map(|line| serde_json::from_str(line.split_once(' ')?.1).ok());
    let of_users = objects.filter(|object: &Value| object["metadata"]["namespace"].is_string());
    of_users
        .map(|object| {
            let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
            (format!("{kind} {}/{}", text(&metadata["namespace"]), text(&metadata["name"])), text(&metadata["uid"]))
        })
        .collect()
}

#[tokio::test]
async fn what_an_older_version_made_goes_on() {
    skip_unless!(!is_real(), "only the embedded cluster can be given the objects of another one");
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let data = folder.path().join("data");
    restore(&data.join("objects"));
    let keys = ["alice", "bob"].map(|user| keygen(folder.path(), user, "ed25519"));
    let users =
        ["alice", "bob"].map(|user| format!("{user}={}", folder.path().join(user).with_extension("pub").display()));
    let data_folder = data.to_str().expect("the tests' folders have plain names");
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--data", data_folder, "--user", &users[0], "--user", &users[1]];
    let mut server = Server::start(&arguments, |command| {
        command.env("HOME", folder.path());
    });
    let ready = server.ready().await;
    let client = open_client(&data.join("kubeconfig")).await;

    let servers: Api<DevServer> = Api::all(client.clone());
    let told = eventually("every status is of this version", async || {
        let all = servers.list(&ListParams::default()).await.expect("the API server answers").items;
        let is_told = |server: &DevServer| server.status.as_ref().is_some_and(|status| status.start_time.is_some());
        let runs = |server: &DevServer| server.status.as_ref().is_some_and(|status| status.phase == Phase::Running);
        all.iter().all(|server| is_told(server) && runs(server)).then_some(all)
    })
    .await;
    assert_eq!(told.len(), 3);
    for server in &told {
        let status = server.status.as_ref().expect("it was looked at");
        assert_eq!(status.observed_generation, server.metadata.generation, "{status:?}");
        assert!(status.agent, "{status:?}");
        // The new version's agent is another one; no pod that runs is ended for it.
        let message = status.message.as_deref().unwrap_or_default();
        assert!(message.contains("it takes effect when the pod is next made"), "{message}");
        // Their time begins now: they are not put to sleep for what was not counted.
        let end = status.expiration_time.as_ref().expect("there is a default").0;
        assert!(end > Timestamp::now() && status.suspension.is_none(), "{status:?}");
    }
    let people: Api<DevServerUser> = Api::all(client.clone());
    eventually("users are ready", async || {
        let all = people.list(&ListParams::default()).await.expect("the API server answers").items;
        let is_ready = |user: &DevServerUser| {
            let status = user.status.clone().unwrap_or_default();
            status.observed_generation == user.metadata.generation
                && status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        all.iter().all(is_ready).then_some(())
    })
    .await;

    // The same homes, the same pods, and nothing beside.
    let mut now = identities::<PersistentVolumeClaim>(&client).await;
    now.extend(identities::<Pod>(&client).await);
    now.extend(identities::<DevServer>(&client).await);
    now.extend(identities::<ServiceAccount>(&client).await);
    now.extend(identities::<ResourceQuota>(&client).await);
    now.extend(identities::<LimitRange>(&client).await);
    now.extend(identities::<NetworkPolicy>(&client).await);
    now.extend(identities::<Role>(&client).await);
    now.extend(identities::<RoleBinding>(&client).await);
    assert_eq!(now, identities_before());

    for (user, key) in ["alice", "bob"].into_iter().zip(&keys) {
        let ssh = Ssh::to_dev(&ready, user).key(key).command("echo in");
        ssh.run().await.exits(0).prints("in\n");
    }
}
