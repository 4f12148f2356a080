//! PuTTY's `plink`, `psftp` and `pscp`; WinSCP and FileZilla have its protocol code.

use super::{COMMAND, alice, bytes, forwards};
use crate::harness::{Laptop, has_agents, is_installed, skip_unless};

/// What all of its programs are told.
async fn options(laptop: &Laptop) -> Vec<String> {
    laptop.run("puttygen", &["key", "-O", "private", "-o", "key.ppk"]).await.exits(0);
    let fingerprint = laptop.run("ssh-keygen", &["-l", "-f", ".ssh/known_hosts", "-F", "127.0.0.1"]).await.text();
    let fingerprint = fingerprint.split_whitespace().find(|word| word.starts_with("SHA256:"));
    let fingerprint = fingerprint.expect("ssh-keygen tells it");
    let options = ["-batch", "-P", &laptop.port(), "-i", "key.ppk", "-hostkey", fingerprint, "-l", laptop.login()];
    options.map(str::to_owned).to_vec()
}

#[tokio::test]
async fn putty_runs_a_command() {
    skip_unless!(is_installed("plink") && is_installed("puttygen"), "putty-tools are not installed");
    let (_product, _alice, laptop) = alice().await;
    let options = options(&laptop).await;
    let arguments: Vec<&str> = options.iter().map(String::as_str).chain(["127.0.0.1", COMMAND]).collect();
    let ended = laptop.run_with("plink", &arguments, &bytes()).await;
    ended.exits(3).prints_bytes(&bytes()).says("not  out\n");
}

#[tokio::test]
async fn putty_transfers_files() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(is_installed("psftp") && is_installed("puttygen"), "putty-tools are not installed");
    let (_product, alice, laptop) = alice().await;
    let options = options(&laptop).await;
    laptop.write("up", bytes());
    laptop.write("batch", "mkdir a\nput up a/there\nget a/there back\nchmod 640 a/there\nls a\nmv a/there kept\n");
    let arguments: Vec<&str> = options.iter().map(String::as_str).chain(["-b", "batch", "127.0.0.1"]).collect();
    laptop.run("psftp", &arguments).await.exits(0);
    assert!(laptop.holds("back", &bytes()));
    alice.ssh("stat -c '%a %s' kept").run().await.exits(0).prints("640 3000001\n");
    let arguments: Vec<&str> = options.iter().map(String::as_str).chain(["127.0.0.1:kept", "copied"]).collect();
    laptop.run("pscp", &arguments).await.exits(0);
    assert!(laptop.holds("copied", &bytes()));
}

#[tokio::test]
async fn putty_forwards_a_port() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(is_installed("plink") && is_installed("puttygen"), "putty-tools are not installed");
    let (_product, alice, laptop) = alice().await;
    let options = options(&laptop).await;
    let arguments =
        |forward: &str| options.iter().cloned().chain(["-N", "-L", forward, "127.0.0.1"].map(str::to_owned)).collect();
    forwards(&alice, &laptop, "plink", arguments).await;
}
