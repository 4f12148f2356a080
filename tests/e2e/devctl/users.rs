//! `devctl users`: what an administrator does, whom the cluster takes for one.

use bastion::api::{DevServerTeam, DevServerTeamSpec, DevServerUser, names};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::devctl;
use crate::harness::{Input, Product, Ssh, User, eventually, keygen, public};

#[tokio::test]
async fn an_administrator_adds_lists_and_removes_users() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let carol = format!("carol-{}", alice.name());
    for words in ["list".to_owned(), format!("add {carol}"), format!("remove {}", bob.name())] {
        let refused = devctl(&alice, &format!("users {words}")).run().await;
        refused.exits(4).prints("").says("you may not").says("bastion-admin");
    }
    let _administrator = Administrator::make(&product, &alice).await;
    eventually("the right is heard of", async || devctl(&alice, "users list").run().await.succeeded().then_some(()))
        .await;

    let first = keygen(product.folder(), &format!("{carol}-1"), "ed25519");
    let second = keygen(product.folder(), &format!("{carol}-2"), "ed25519");
    let add = devctl(&alice, &format!("users add {carol} --login {carol}.Smith --key -"));
    let added = add.input(Input::Bytes(public(&first).into_bytes())).run().await;
    added.exits(0).says(&format!("`{carol}` is added and may log in"));
    devctl(&alice, &format!("users add {carol}")).run().await.exits(1).says("already");
    let list = devctl(&alice, "users list").run().await.exits(0).text();
    assert!(list.contains(&carol) && list.contains(bob.name()), "{list}");
    let json: Value = serde_json::from_str(&devctl(&alice, "users list -o json").run().await.exits(0).text()).unwrap();
    assert_eq!(json["kind"], "List");

    let users: Api<DevServerUser> = Api::all(product.client());
    let limits = json!({"spec": {"disabled": true, "limits": {"devServers": 2}}});
    users.patch(bob.name(), &PatchParams::default(), &Patch::Merge(limits)).await.expect("he is there");
    let teams: Api<DevServerTeam> = Api::all(product.client());
    let spec = DevServerTeamSpec { members: vec![bob.name().to_owned()], ..DevServerTeamSpec::default() };
    let team = DevServerTeam::new(&format!("team-{carol}"), spec);
    teams.create(&PostParams::default(), &team).await.expect("teams can be made");
    let list = devctl(&alice, "users list").run().await.exits(0).text();
    let row = list.lines().find(|line| line.split_whitespace().next() == Some(bob.name())).expect("he is there");
    for part in ["Disabled", "2 DevServers", &format!("team-{carol}")] {
        assert!(row.contains(part), "{part}: {list}");
    }
    teams.delete(&format!("team-{carol}"), &DeleteParams::default()).await.expect("it is there");

    let nowhere = json!({"spec": {"accounts": {"nowhere": "carol"}}});
    users.patch(&carol, &PatchParams::default(), &Patch::Merge(nowhere)).await.expect("she is there");
    eventually("what has no effect is told", async || {
        devctl(&alice, "users list -o wide").run().await.exits(0).text().contains("nowhere").then_some(())
    })
    .await;

    let log_in = async |key: &std::path::Path| {
        let in_vain = Ssh::new(product.front(), &carol).key(key).command("devctl version").run().await;
        in_vain.succeeded()
    };
    eventually("she may log in", async || log_in(&first).await.then_some(())).await;
    assert!(!log_in(&second).await);

    let keys = devctl(&alice, &format!("users keys {carol}")).run().await.exits(0).text();
    let fingerprint = keys.split_whitespace().find(|word| word.starts_with("SHA256:")).expect("it is told").to_owned();
    let add = devctl(&alice, &format!("users keys {carol} --add - --remove {fingerprint}"));
    let changed = add.input(Input::Bytes(public(&second).into_bytes())).run().await.exits(0).text();
    assert!(changed.contains("SHA256:") && !changed.contains(&fingerprint), "{changed}");
    eventually("the new key is good", async || log_in(&second).await.then_some(())).await;
    eventually("the old one is not", async || (!log_in(&first).await).then_some(())).await;
    let nonsense = devctl(&alice, &format!("users keys {carol} --add nonsense")).run().await;
    nonsense.exits(2).says("`nonsense` is not a public key");

    devctl(&alice, &format!("users remove {carol}")).run().await.exits(2).says("`--yes` says so");
    let removed = devctl(&alice, &format!("users remove {carol} --yes -o name")).run().await;
    removed.exits(0).prints(&format!("{carol}\n")).says(&names::namespace(&carol));
    devctl(&alice, &format!("users keys {carol}")).run().await.exits(3).says("there is no user");
    eventually("she may not log in", async || (!log_in(&second).await).then_some(())).await;
    let _ = Api::<Namespace>::all(product.client()).delete(&names::namespace(&carol), &DeleteParams::default()).await;
    let users: Api<DevServerUser> = Api::all(product.client());
    assert!(users.get_opt(&carol).await.expect("the API server answers").is_none());
}

/// Whoever can log in can send this; the bastion's memory is everybody's.
#[tokio::test]
async fn a_list_of_keys_is_not_read_for_ever() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    for input in [b"\n".repeat(8 << 20), [b"x".repeat(60 << 10).as_slice(), b"\n"].concat().repeat(128)] {
        let add = devctl(&alice, "users add x --key -").input(Input::Bytes(input)).run().await;
        add.exits(2).prints("").says("more than a list of keys");
    }
}

/// Rights for a user's account. They end with the test.
pub(crate) struct Administrator {
    product: Product,
    name: String,
}

impl Administrator {
    pub(crate) async fn make(product: &Product, user: &User) -> Self {
        let name = format!("e2e-admin-{}", user.name());
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bastion-admin"});
        let subject = json!({"kind": "ServiceAccount", "namespace": user.namespace(), "name": user.name()});
        let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject]});
        let binding: ClusterRoleBinding = serde_json::from_value(binding).expect("it is one");
        let bindings: Api<ClusterRoleBinding> = Api::all(product.client());
        bindings.create(&PostParams::default(), &binding).await.expect("roles can be bound");
        Self { product: product.clone(), name }
    }
}

impl Drop for Administrator {
    fn drop(&mut self) {
        let (kubeconfig, name) = (self.product.kubeconfig().to_owned(), self.name.clone());
        // A thread, as a runtime cannot be entered from within another one's.
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be had").block_on(async {
                let client = crate::harness::open_client(&kubeconfig).await;
                let _ = Api::<ClusterRoleBinding>::all(client).delete(&name, &DeleteParams::default()).await;
            });
        });
        let _ = clean.join();
    }
}
