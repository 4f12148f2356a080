//! What each side proves who it is by: keys, certificates, the host's key.

use bastion::api::DevServerUser;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{DEVCTL, Desk};
use crate::harness::{Agent, Product, certify, eventually, keygen, public, user};

#[tokio::test]
async fn a_changed_host_key_is_refused() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::of(&alice).await;
    let other = keygen(product.folder(), &format!("{}-other", alice.name()), "ed25519");
    let other = public(&other);
    desk.laptop.write(".ssh/known_hosts", format!("[127.0.0.1]:{} {other}", product.front().port()));
    for words in [&["list"][..], &["login", "--accept-new", &desk.bastion]] {
        let refused = desk.devctl(words).await;
        refused
            .exits(255)
            .prints("")
            .says("REMOTE HOST IDENTIFICATION HAS CHANGED")
            .says("known_hosts line 1")
            .says("ssh-keygen -R");
    }
    assert_eq!(desk.read(".ssh/known_hosts").lines().count(), 1);
}

#[tokio::test]
async fn keys_come_from_where_openssh_has_them() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::of(&alice).await;
    std::fs::remove_file(desk.laptop.path(".ssh/id_ed25519")).expect("it is there");
    desk.devctl(&["list"]).await.exits(255).says("you have no SSH key").says("ssh-keygen");

    let agent = Agent::start().await;
    agent.add(alice.key());
    let mut with_agent = desk.command(&["list"]);
    with_agent.env("SSH_AUTH_SOCK", agent.socket());
    Desk::finish(with_agent).await.exits(0);

    let alias = format!("Host front\n HostName 127.0.0.1\n Port {}\n IdentityFile ~/key\n", product.front().port());
    desk.laptop.write(".ssh/config", alias);
    desk.devctl(&["login", &format!("{}@front", alice.name())]).await.exits(0).says_exactly("");
    desk.devctl(&["list"]).await.exits(0);

    let stranger = keygen(product.folder(), &format!("{}-stranger", alice.name()), "ed25519");
    let stranger = stranger.to_str().expect("a plain name");
    let refused = desk.devctl(&["login", "--identity", stranger, &desk.bastion]).await;
    refused.exits(255).says("does not let").says("SHA256:").says("stranger");
}

#[tokio::test]
async fn a_key_with_a_passphrase_needs_a_terminal_or_an_agent() {
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    let file = desk.laptop.path(".ssh/id_ed25519");
    let locked =
        desk.laptop.run("ssh-keygen", &["-q", "-p", "-N", "secret", "-f", file.to_str().expect("plain")]).await;
    locked.exits(0);
    desk.devctl(&["list"]).await.exits(255).says("has a passphrase").says("ssh-add");

    let mut terminal = desk.terminal(&["list", "-o", "name"]);
    terminal.shows("Passphrase of ~/.ssh/id_ed25519").await;
    terminal.types("wrong\r").await;
    terminal.shows("this is not the passphrase").await;
    let is_asked_again = |rows: &[String]| rows.iter().filter(|row| row.contains("Passphrase of")).count() == 2;
    terminal.shows_rows("the question again", is_asked_again).await;
    terminal.types("secret\r").await;
    terminal.exits(0).await;
    assert!(!terminal.rows().iter().any(|row| row.contains("secret")));

    // Whoever was asked can still press Ctrl-C, wherever the output goes.
    let mut watch = desk.runs_at_a_terminal("sh", &["-c", &format!("exec {DEVCTL} list --watch -o name >log")]);
    watch.shows("Passphrase of ~/.ssh/id_ed25519").await;
    watch.types("secret\r").await;
    eventually("the list", async || desk.read("log").contains("dev\n").then_some(())).await;
    watch.types("\x03").await;
    watch.exits(130).await;
}

#[tokio::test]
async fn a_key_that_may_have_no_terminal_leaves_ctrl_c_to_this_one() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    let keys = json!({"spec": {"publicKeys": [format!("no-pty {}", public(alice.key()).trim())]}});
    let users: Api<DevServerUser> = Api::all(product.client());
    users.patch(alice.name(), &PatchParams::default(), &Patch::Merge(keys)).await.expect("she is there");
    eventually("the option holds", async || {
        // OpenSSH's client leaves where it asked in vain.
        let asked = alice.ssh("true").argument("-tt").run().await;
        asked.stderr().contains("PTY allocation request failed").then_some(())
    })
    .await;
    let mut watch = desk.terminal(&["list", "--watch"]);
    watch.shows("gives you no terminal").await;
    watch.shows("dev ").await;
    watch.types("\x03").await;
    watch.ends().await;
}

/// `ssh-keygen`'s certificates of hosts and of users, and a host key of another kind than the first.
#[tokio::test]
async fn certificates_are_worth_what_they_are_to_openssh() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let file = |name: &str| folder.path().join(name);
    let (ca, ecdsa) = (keygen(folder.path(), "ca", "ed25519"), keygen(folder.path(), "ecdsa", "ecdsa"));
    let rsa = keygen(folder.path(), "rsa", "rsa");
    std::fs::write(file("first.pub"), product.serve(&[]).await.host_key()).expect("the folder is ours");
    for key in [&file("first"), &ecdsa] {
        certify(&ca, key, &["-h", "-n", "127.0.0.1"]);
    }
    certify(&ca, &rsa, &["-n", alice.name()]);
    let settings = [
        format!("ssh.further_host_keys=[\"{}\"]", ecdsa.display()),
        format!(
            "ssh.host_certificates=[\"{}\",\"{}\"]",
            file("first-cert.pub").display(),
            file("ecdsa-cert.pub").display()
        ),
        format!("identity.trusted_user_ca_keys=[\"{}\"]", ca.with_extension("pub").display()),
    ];
    let replica = product.serve(&settings.each_ref().map(String::as_str)).await;
    alice.is_known_at(&replica).await;
    let desk = Desk::new(&alice, &replica);
    let name = format!("[127.0.0.1]:{}", replica.port());
    // Of several host keys the one that is known is asked for.
    desk.laptop.write(".ssh/known_hosts", format!("{name} {}", public(&ecdsa)));
    desk.devctl(&["login", &desk.bastion]).await.exits(0).says_exactly("");
    desk.laptop.write(".ssh/known_hosts", format!("@cert-authority {name} {}", public(&ca)));
    desk.devctl(&["list"]).await.exits(0);
    desk.laptop.write(".ssh/known_hosts", format!("@revoked * {}", public(&ecdsa)));
    desk.devctl(&["list"]).await.exits(255);

    desk.laptop.write(".ssh/known_hosts", format!("@cert-authority {name} {}", public(&ca)));
    let key = rsa.to_str().expect("a plain name");
    desk.devctl(&["login", "--identity", key, &desk.bastion]).await.exits(0);
    desk.devctl(&["list"]).await.exits(0);
    certify(&ca, &rsa, &["-n", alice.name(), "-V", "20200101:20200102"]);
    desk.devctl(&["list"]).await.exits(255).says("does not let");
    desk.devctl(&["doctor", "-o", "json"]).await.exits(1);
    let report = desk.devctl(&["doctor"]).await.text();
    assert!(report.contains("expired 2020-01-02"), "{report}");
}
