//! User certificates, as ssh-keygen signs them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{Agent, Product, Replica, Ssh, User, certify, eventually, keygen, public, revoke};

/// An authority, and a user with a key that nobody registered.
struct Signed {
    alice: User,
    key: PathBuf,
    ca: PathBuf,
    folder: TempDir,
}

impl Signed {
    async fn new(product: &Product) -> Self {
        Self::of_kind(product, "ed25519").await
    }

    async fn of_kind(product: &Product, kind: &str) -> Self {
        let alice = product.user("alice").await;
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let (key, ca) = (keygen(folder.path(), "key", kind), keygen(folder.path(), "ca", kind));
        std::fs::write(folder.path().join("revoked"), "").expect("the folder is ours");
        Self { alice, key, ca, folder }
    }

    /// A bastion that trusts the authority.
    async fn trusted(&self, product: &Product) -> Replica {
        let trusted = format!("identity.trusted_user_ca_keys=[\"{}\"]", self.ca.with_extension("pub").display());
        let revoked = format!("identity.revoked_keys={}", self.folder.path().join("revoked").display());
        let replica = product.serve(&[&trusted, &revoked]).await;
        self.alice.is_known_at(&replica).await;
        replica
    }

    fn revoke(&self, keys: &str) {
        std::fs::write(self.folder.path().join("revoked"), keys).expect("the folder is ours");
    }

    /// Logs in with a new certificate; `arguments` are ssh-keygen's.
    fn with(&self, replica: &Replica, arguments: &[&str]) -> Ssh {
        certify(&self.ca, &self.key, arguments);
        Ssh::new(replica, self.alice.name()).key(&self.key)
    }
}

#[tokio::test]
async fn a_trusted_authoritys_certificate_lets_in_whom_it_names() {
    let product = Product::shared().await;
    let signed = Signed::new(&product).await;
    let replica = signed.trusted(&product).await;
    let bare = Ssh::new(&replica, signed.alice.name()).key(&signed.key).command("echo in");
    bare.run().await.exits(255).prints("");

    let name = signed.alice.name();
    let both = format!("ops,{name}");
    for arguments in
        [&["-n", name][..], &["-n", &both, "-V", "-5m:+5m"], &["-n", name, "-O", "source-address=127.0.0.0/8"]]
    {
        signed.with(&replica, arguments).command("echo in").run().await.exits(0).prints("in\n");
    }
    let refused = [
        &["-n", "ops"][..],
        &[],
        &["-n", name, "-h"],
        &["-n", name, "-V", "20200101:20200102"],
        &["-n", name, "-V", "+1h:+2h"],
        &["-n", name, "-O", "source-address=10.0.0.0/8"],
        &["-n", name, "-O", "critical:new@example.org=x"],
    ];
    for arguments in refused {
        signed.with(&replica, arguments).command("echo in").run().await.exits(255).prints("");
    }
    signed.with(product.front(), &["-n", name]).command("echo in").run().await.exits(255).prints("");
    let unknown = signed.with(&replica, &["-n", "nobody-here"]).login("nobody-here").command("echo in");
    unknown.run().await.exits(255).prints("");
}

/// Nothing but the login name is heard of it: it is refused before anybody is asked whose it is.
#[tokio::test]
async fn the_log_tells_whose_certificate_has_expired() {
    let product = Product::shared().await;
    let signed = Signed::new(&product).await;
    let replica = signed.trusted(&product).await;
    let name = signed.alice.name();
    // The key itself is not to be offered, as it is not where only the certificate is in an agent.
    let expired = signed.with(&replica, &["-n", name, "-V", "20200101:20200102"]);
    let expired = expired.option("PubkeyAcceptedAlgorithms=ssh-ed25519-cert-v01@openssh.com");
    expired.command("echo in").run().await.exits(255).prints("");
    let words = ["left without a login", name, "has expired", "client.addr=127.0.0.1"];
    let tells = |line: &str| words.iter().all(|word| line.contains(word));
    eventually("the log tells", async || replica.log().lines().any(tells).then_some(())).await;
}

#[tokio::test]
async fn every_modern_kind_of_certificate_gets_in() {
    let product = Product::shared().await;
    for kind in ["ecdsa", "rsa"] {
        let signed = Signed::of_kind(&product, kind).await;
        let replica = signed.trusted(&product).await;
        let name = signed.alice.name();
        signed.with(&replica, &["-n", name]).command("echo in").run().await.exits(0).prints("in\n");
        if kind == "rsa" {
            let sha1 = signed.with(&replica, &["-n", name, "-t", "ssh-rsa"]).command("echo in");
            sha1.run().await.exits(255).prints("");
        }
    }
}

#[tokio::test]
async fn a_certificate_says_what_its_holder_may() {
    let product = Product::shared().await;
    let signed = Signed::new(&product).await;
    let replica = signed.trusted(&product).await;
    let name = signed.alice.name();
    let forced = signed.with(&replica, &["-n", name, "-O", "force-command=echo forced, $SSH_ORIGINAL_COMMAND"]);
    forced.command("echo in").run().await.exits(0).prints("forced, echo in\n");
    let terminal = signed.with(&replica, &["-n", name]).argument("-tt").command("test -t 0 && echo in");
    terminal.run().await.exits(0).prints("in\r\n");
    let refused = signed.with(&replica, &["-n", name, "-O", "clear"]).argument("-tt").command("echo in");
    refused.run().await.exits(255).prints("").says("PTY allocation request failed");
    signed.with(&replica, &["-n", name, "-O", "no-pty"]).command("echo in").run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn a_revoked_key_lets_nobody_in() {
    let product = Product::shared().await;
    let signed = Signed::new(&product).await;
    let replica = signed.trusted(&product).await;
    let enters = async |enters: bool| {
        let finished = signed.with(&replica, &["-n", signed.alice.name()]).command("echo in").run().await;
        finished.prints(if enters { "in\n" } else { "" });
    };
    enters(true).await;
    for revoked in [public(&signed.key), public(&signed.ca), "not a key\n".to_owned()] {
        signed.revoke(&revoked);
        enters(false).await;
    }
    signed.revoke(&public(signed.alice.key()));
    enters(true).await;
    signed.alice.ssh_at(&replica, "echo in").run().await.exits(255).prints("");
}

#[tokio::test]
async fn a_revocation_list_of_ssh_keygen_holds() {
    let product = Product::shared().await;
    let signed = Signed::new(&product).await;
    let mut replica = signed.trusted(&product).await;
    let list = signed.folder.path().join("revoked");
    let fingerprint = |kind: &str, key: &Path| format!("{kind}: {}", public(key));
    let enters = async |replica: &Replica, lines: &str, serial: &str| {
        revoke(&list, &signed.ca, lines);
        let ssh = signed.with(replica, &["-n", signed.alice.name(), "-z", serial]);
        ssh.command("echo in").run().await.text() == "in\n"
    };
    assert!(enters(&replica, "", "7").await);
    for lines in ["serial: 7", "serial: 2-9", "serial: 1\nserial: 3\nserial: 5\nserial: 7", "id: a certificate"] {
        assert!(!enters(&replica, lines, "7").await, "{lines}");
    }
    assert!(enters(&replica, "serial: 2-9\nid: another", "10").await);
    for kind in ["key", "sha1", "sha256"] {
        for key in [&signed.key, &signed.ca] {
            assert!(!enters(&replica, &fingerprint(kind, key), "7").await, "{kind}");
        }
    }
    let own = fingerprint("sha256", signed.alice.key());
    assert!(enters(&replica, &own, "7").await);
    signed.alice.ssh_at(&replica, "echo in").run().await.exits(255).prints("");

    let whole = std::fs::read(&list).expect("ssh-keygen wrote it");
    std::fs::write(&list, &whole[..whole.len() - 1]).expect("the folder is ours");
    let damaged = signed.with(&replica, &["-n", signed.alice.name()]).command("echo in").run().await;
    damaged.exits(255).prints("");
    let log = replica.server().log();
    assert!(log.contains("the revoked keys are not known; nobody is let in"), "{log}");
}

#[tokio::test]
async fn a_users_own_authority_lets_in_for_her_only() {
    let product = Product::shared().await;
    let signed = Signed::new(&product).await;
    let bob = product.user("bob").await;
    let name = signed.alice.name();
    let files = format!("[{{ kind = \"files\", directory = \"{}\" }}]", signed.folder.path().display());
    let replica = product.serve(&[&format!("identity.registries={files}")]).await;
    let authority = |options: &str| {
        let line = format!("cert-authority{options} {}", public(&signed.ca));
        std::fs::write(signed.folder.path().join(name), line).expect("the folder is ours");
    };
    authority("");
    signed.with(&replica, &["-n", name]).command("echo in").run().await.exits(0).prints("in\n");
    signed.with(&replica, &["-n", "ops"]).command("echo in").run().await.exits(255).prints("");
    signed.with(&replica, &["-n", bob.name()]).login(bob.name()).command("echo in").run().await.exits(255).prints("");
    // The authority's key is no key of hers.
    Ssh::new(&replica, name).key(&signed.ca).command("echo in").run().await.exits(255).prints("");

    authority(",principals=\"dev,ops\",command=\"echo forced\"");
    signed.with(&replica, &["-n", "ops"]).command("echo in").run().await.exits(0).prints("forced\n");
    signed.with(&replica, &["-n", name]).command("echo in").run().await.exits(255).prints("");
}

/// As with sshd: it was refused before her line was looked at.
#[tokio::test]
async fn a_trusted_authority_may_be_a_users_own_too_for_other_principals() {
    let product = Product::shared().await;
    let signed = Signed::new(&product).await;
    let (name, folder) = (signed.alice.name(), signed.folder.path());
    let line = format!("cert-authority,principals=\"deploy\",command=\"echo forced\" {}", public(&signed.ca));
    std::fs::write(folder.join(name), line).expect("the folder is ours");
    let registries = format!("identity.registries=[{{ kind = \"files\", directory = \"{}\" }}]", folder.display());
    let trusted = format!("identity.trusted_user_ca_keys=[\"{}\"]", signed.ca.with_extension("pub").display());
    let replica = product.serve(&[&registries, &trusted]).await;
    signed.with(&replica, &["-n", name]).command("echo in").run().await.exits(0).prints("in\n");
    signed.with(&replica, &["-n", "deploy"]).command("echo in").run().await.exits(0).prints("forced\n");
    signed.with(&replica, &["-n", "ops"]).command("echo in").run().await.exits(255).prints("");
}

/// Where certificates are trusted, each key of an agent is asked to sign before it is refused.
#[tokio::test]
async fn an_agents_other_keys_do_not_hide_a_certificate() {
    let product = Product::shared().await;
    let signed = Signed::new(&product).await;
    let replica = signed.trusted(&product).await;
    let agent = Agent::start().await;
    for n in 1..15 {
        agent.add(&keygen(signed.folder.path(), &format!("wrong-{n}"), "ed25519"));
    }
    certify(&signed.ca, &signed.key, &["-n", signed.alice.name()]);
    agent.add(&signed.key);
    let ssh = Ssh::new(&replica, signed.alice.name()).agent(agent.socket()).command("echo in");
    ssh.run().await.exits(0).prints("in\n");
}
