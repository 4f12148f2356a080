//! A volume that a team shares.

use std::os::unix::fs::PermissionsExt;

use bastion::api::{DevServer, DevServerTeam, Phase, names};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Finished, Product, User, eventually, is_real, open_client};

/// A team whose volume is a folder of this machine, which the real cluster's node is too. Dropped, it is deleted.
struct Team {
    name: String,
    product: Product,
    storage: TempDir,
}

impl Team {
    async fn new(product: &Product, members: &[&User], volume: Value) -> Self {
        let name = format!("team-{}", members[0].name());
        let storage = tempfile::tempdir().expect("there is a folder for temporary files");
        std::fs::set_permissions(storage.path(), PermissionsExt::from_mode(0o777)).expect("it is ours");
        let team = Self { name, product: product.clone(), storage };
        let mut volume = volume;
        volume["persistentVolume"] = json!(team.name);
        let object = json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServerTeam", "metadata": { "name": team.name },
            "spec": {
                "members": members.iter().map(|member| member.name()).collect::<Vec<_>>(),
                "volume": volume,
                // Room for a home and little more: what the team's storage has is no member's affair.
                "quotas": { "resourceQuota": { "hard": { "requests.storage": "11Gi", "persistentvolumeclaims": "2" } } },
            },
        });
        let object = serde_json::from_value(object).expect("it is a team");
        team.teams().create(&PostParams::default(), &object).await.expect("teams can be made");
        team
    }

    /// Makes the volume that tells where the storage is.
    async fn has_storage(&self) {
        let template = json!({
            "metadata": { "name": self.name },
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "capacity": { "storage": "1Ti" },
                "claimRef": { "namespace": self.product.namespace(), "name": self.name },
                "hostPath": { "path": self.storage.path() },
                "persistentVolumeReclaimPolicy": "Retain",
            },
        });
        let template = serde_json::from_value(template).expect("it is a volume");
        self.volumes().create(&PostParams::default(), &template).await.expect("volumes can be made");
    }

    fn teams(&self) -> Api<DevServerTeam> {
        Api::all(self.product.client())
    }

    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.product.client())
    }

    fn path(&self) -> String {
        format!("/team/{}", self.name)
    }

    fn claim(&self) -> String {
        names::team_claim(&self.name)
    }

    async fn change(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.teams().patch(&self.name, &PatchParams::default(), &patch).await.expect("teams can be changed");
    }

    async fn tells(&self, status: &str, words: &str) {
        eventually(&format!("the team tells {words:?}"), async || {
            let team = self.teams().get(&self.name).await.expect("it is there");
            let conditions = team.status?.conditions;
            let ready = conditions.iter().find(|condition| condition.type_ == "VolumeReady")?;
            (ready.status == status && ready.message.contains(words)).then_some(())
        })
        .await;
    }

    /// Makes a DevServer `train` that has the path of the team's volume in `$TEAM`; paths are the embedded cluster's
    /// own.
    async fn devserver(&self, user: &User, volumes: Value) {
        let spec = json!({ "env": [{ "name": "TEAM", "value": self.path() }], "volumes": volumes });
        user.has::<ServiceAccount>(user.name()).await;
        user.add_devserver_with("train", spec).await;
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        let (name, kubeconfig) = (self.name.clone(), self.product.kubeconfig().to_owned());
        // A thread, as a runtime cannot be entered from within another one's.
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be had").block_on(async {
                let client = open_client(&kubeconfig).await;
                let parameters = DeleteParams::background();
                // What a test did not make, or deleted itself, is not missed.
                let _ = Api::<DevServerTeam>::all(client.clone()).delete(&name, &parameters).await;
                let _ = Api::<PersistentVolume>::all(client).delete(&name, &parameters).await;
            });
        });
        let _ = clean.join();
    }
}

async fn in_train(user: &User, command: &str) -> Finished {
    user.ssh(command).login(&format!("{}+train", user.name())).run().await
}

async fn claim_of(user: &User, name: &str) -> Option<PersistentVolumeClaim> {
    user.api().get_opt(name).await.expect("the API server answers")
}

async fn says(user: &User, words: &str) {
    eventually(words, async || {
        let status = user.has::<DevServer>("train").await.status?;
        status.message?.contains(words).then_some(())
    })
    .await;
}

#[tokio::test]
async fn members_see_one_anothers_files_until_they_leave_and_nobody_else_does() {
    let product = Product::shared().await;
    let (alice, bob, carol) = (product.user("alice").await, product.user("bob").await, product.user("carol").await);
    let team = Team::new(&product, &[&alice, &bob], json!({})).await;
    team.has_storage().await;
    team.tells("True", "2 members have it").await;
    for user in [&alice, &bob] {
        team.devserver(user, json!([])).await;
    }
    in_train(&alice, "umask 0; echo from alice >$TEAM/note").await.exits(0);
    in_train(&bob, "cat $TEAM/note; echo from bob >>$TEAM/note").await.exits(0).prints("from alice\n");
    in_train(&alice, "cat $TEAM/note").await.exits(0).prints("from alice\nfrom bob\n");

    // Who is no member has nothing, whatever she says in her own namespace, or an administrator on her behalf.
    let claim = team.claim();
    team.devserver(&carol, json!([{ "claim": claim, "mountPath": team.path() }])).await;
    says(&carol, "is that of a team to which you do not belong").await;
    let hers = names::team_volume(&team.name, alice.name());
    let grab = json!({
        "metadata": { "name": "mine" },
        "spec": {
            "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Mi" } },
            "storageClassName": "", "volumeName": hers,
        },
    });
    let grab: PersistentVolumeClaim = serde_json::from_value(grab).expect("it is a claim");
    carol.api().create(&PostParams::default(), &grab).await.expect("claims can be made");
    team.devserver(&carol, json!([{ "claim": "mine", "mountPath": team.path() }])).await;
    says(&carol, "waiting for volumes").await;
    team.devserver(&carol, json!([])).await;
    in_train(&carol, "cat $TEAM/note").await.exits(1).prints("");

    // A member does without it, and has it again.
    for (wish, exit, said) in [("false", 1, ""), ("true", 0, "from alice\nfrom bob\n")] {
        alice.ssh(&format!("devctl update train --team-volumes={wish} --yes --wait")).run().await.exits(0);
        in_train(&alice, "cat $TEAM/note").await.exits(exit).prints(said);
    }

    // Who leaves has it until her pod ends.
    team.change(json!({ "members": [alice.name()] })).await;
    eventually("his claim goes", async || claim_of(&bob, &claim).await?.metadata.deletion_timestamp).await;
    in_train(&bob, "cat $TEAM/note").await.exits(0).prints("from alice\nfrom bob\n");
    bob.loses_pod("train").await;
    eventually("he has no claim", async || claim_of(&bob, &claim).await.is_none().then_some(())).await;
    in_train(&bob, "cat $TEAM/note").await.exits(1).prints("");
    let his = names::team_volume(&team.name, bob.name());
    eventually("he has no volume", async || {
        team.volumes().get_opt(&his).await.expect("the API server answers").is_none().then_some(())
    })
    .await;
    in_train(&alice, "cat $TEAM/note").await.exits(0).prints("from alice\nfrom bob\n");
    assert_ne!(claim_of(&carol, "mine").await.and_then(|claim| claim.status?.phase).as_deref(), Some("Bound"));

    // And so it is when the team goes. The data is kept.
    team.teams().delete(&team.name, &DeleteParams::default()).await.expect("it is there");
    eventually("her claim goes", async || claim_of(&alice, &claim).await?.metadata.deletion_timestamp).await;
    alice.loses_pod("train").await;
    eventually("her volume is gone", async || {
        team.volumes().get_opt(&hers).await.expect("the API server answers").is_none().then_some(())
    })
    .await;
    let kept = std::fs::read_to_string(team.storage.path().join("note")).expect("it is kept");
    assert_eq!(kept, "from alice\nfrom bob\n");
}

#[tokio::test]
async fn what_members_may_only_read_they_cannot_write_by_any_path() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let team = Team::new(&product, &[&alice], json!({ "readOnly": true, "mountPath": "/models" })).await;
    team.has_storage().await;
    std::fs::write(team.storage.path().join("weights"), "1\n").expect("the folder is ours");
    team.tells("True", "1 member has it").await;
    let own = json!([{ "claim": team.claim(), "mountPath": "/own" }]);
    let env = json!([{ "name": "MODELS", "value": "/models" }, { "name": "OWN", "value": "/own" }]);
    alice.add_devserver_with("train", json!({ "env": env, "volumes": own })).await;
    in_train(&alice, "cat $MODELS/weights $OWN/weights").await.exits(0).prints("1\n1\n");
    let pod: Pod = alice.has("train").await;
    let mounts = pod.spec.and_then(|mut spec| spec.containers.remove(0).volume_mounts).unwrap_or_default();
    for path in ["/models", "/own"] {
        let mount = mounts.iter().find(|mount| mount.mount_path == path).expect("it is mounted");
        assert_eq!(mount.read_only, Some(true), "{path}");
    }
    let told = alice.ssh("devctl describe train").run().await.exits(0).text();
    assert!(told.contains(&format!("of {} at /models (read only)", team.name)), "{told}");
    if is_real() {
        let refused = in_train(&alice, "touch $MODELS/x || touch $OWN/x").await;
        refused.exits(1).says("Read-only file system");
    }
}

#[tokio::test]
async fn a_team_without_its_storage_says_so_and_keeps_nobody_out() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let team = Team::new(&product, &[&alice], json!({})).await;
    team.tells("False", "there is no PersistentVolume").await;
    team.devserver(&alice, json!([])).await;
    in_train(&alice, "cat $TEAM/note").await.exits(1).prints("");
    says(&alice, "there is no PersistentVolume").await;
    team.has_storage().await;
    std::fs::write(team.storage.path().join("note"), "here\n").expect("the folder is ours");
    team.tells("True", "1 member has it").await;
    // A pod that runs is not ended for it.
    says(&alice, "it takes effect when the pod is next made").await;
    assert_eq!(alice.has::<DevServer>("train").await.status.map(|status| status.phase), Some(Phase::Running));
    alice.loses_pod("train").await;
    eventually("it is mounted", async || {
        let read = in_train(&alice, "cat $TEAM/note").await;
        (read.text() == "here\n").then_some(())
    })
    .await;
}
