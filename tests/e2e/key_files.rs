//! Keys in a folder of files, and keys with strings attached.

use std::path::Path;

use bastion::api::DevServerUser;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::harness::{Product, Replica, Ssh, eventually, keygen};

#[tokio::test]
async fn a_user_of_a_key_file_gets_an_object_at_her_first_login() {
    let product = Product::shared().await;
    // She borrows a name that nobody has, and its clean-up.
    let carol = product.user("carol").await;
    let users: Api<DevServerUser> = Api::all(product.client());
    carol.is_forgotten().await;

    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let replica = replica_with_files(&product, folder.path()).await;
    carol.ssh_at(&replica, "echo in").run().await.exits(255).prints("");

    std::fs::copy(carol.key().with_extension("pub"), folder.path().join(format!("{}.pub", carol.name())))
        .expect("the folder is ours");
    eventually("the file is read", async || {
        (carol.ssh_at(&replica, "echo in").run().await.text() == "in\n").then_some(())
    })
    .await;
    users.get(carol.name()).await.expect("the object was made");

    std::fs::remove_file(folder.path().join(format!("{}.pub", carol.name()))).expect("it is there");
    eventually("the file is missed", async || {
        (carol.ssh_at(&replica, "echo in").run().await.text() != "in\n").then_some(())
    })
    .await;
}

async fn replica_with_files(product: &Product, folder: &Path) -> Replica {
    let files = format!("{{ kind = \"files\", directory = \"{}\" }}", folder.display());
    product.serve(&[&format!("identity.registries=[{{ kind = \"user-objects\" }}, {files}]")]).await
}

/// A restriction that is read over would be a right that nobody gave.
#[tokio::test]
async fn a_key_with_options_is_refused_and_the_log_says_so() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut replica = product.serve(&[]).await;
    let free = keygen(product.folder(), &format!("{}-free", alice.name()), "ed25519");
    let public = |key: &Path| std::fs::read_to_string(key.with_extension("pub")).expect("it was written");
    let keys = [format!("from=\"10.0.0.0/8\" {}", public(alice.key())), public(&free)];
    let patch = Patch::Merge(json!({"spec": {"publicKeys": keys.map(|key| key.trim().to_owned())}}));
    let users: Api<DevServerUser> = Api::all(product.client());
    users.patch(alice.name(), &PatchParams::default(), &patch).await.expect("users can be changed");
    eventually("the free key is known", async || {
        let ssh = Ssh::new(&replica, alice.name()).key(&free).command("echo in");
        (ssh.run().await.text() == "in\n").then_some(())
    })
    .await;
    alice.ssh_at(&replica, "echo in").run().await.exits(255).prints("");
    let log = replica.server().log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("from=")), "{log}");
}

#[tokio::test]
async fn a_banner_is_shown_before_the_login() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let replica = product.serve(&["ssh.banner=Authorised use only."]).await;
    alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n").says("Authorised use only.");
}
