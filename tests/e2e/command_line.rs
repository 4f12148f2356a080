//! What the binary says without a cluster.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{is_real, kubectl, skip_unless};

fn bastion(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bastion"));
    command.args(arguments).env("KUBECONFIG", "/nonexistent").output().expect("the binary was built")
}

fn stdout(arguments: &[&str]) -> String {
    let output = bastion(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it writes text")
}

#[test]
fn crds_are_printed() {
    let crds = stdout(&["crds"]);
    for name in ["devservers.devserver.io", "devserverflavors.devserver.io", "devserverusers.devserver.io"] {
        assert!(crds.contains(&format!("name: {name}\n")), "{name}");
    }
}

#[test]
fn a_cluster_accepts_the_crds() {
    skip_unless!(is_real(), "the embedded cluster has no kubectl");
    let accepted =
        kubectl(&["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"], &stdout(&["crds"]));
    assert_eq!(accepted.lines().count(), 4, "{accepted}");
}

#[test]
fn a_configuration_that_is_wrong_names_its_key() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let config = folder.path().join("bastion.toml");
    let complains = |text: &str, key: &str| {
        std::fs::write(&config, text).expect("the folder is ours");
        let output = bastion(&["serve", "--config", path(&config)]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(stderr.contains(key), "{key} is not in: {stderr}");
    };
    complains("[ssh]\nlistne = \"127.0.0.1:0\"\n", "listne");
    complains("[ssh]\nlogin_grace_time = \"soon\"\n", "login_grace_time");
    complains("[ssh\n", "bastion.toml");
    let output = bastion(&["serve", "--config", "/nonexistent/bastion.toml"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/bastion.toml"));
}

#[test]
fn completions_are_for_shells() {
    assert!(stdout(&["completion", "bash"]).contains("bastion"));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the tests' folders have plain names")
}
