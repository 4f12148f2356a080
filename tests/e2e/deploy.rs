//! `scripts/deploy` where the image goes by a registry, with stand-ins for docker and for kubectl. `scripts/test
//! --real` has it bring an image to a cluster by other ways.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{is_installed, keygen, public};

/// They write down how they were called. What is asked of the cluster is where its server is: here.
const DOCKER: &str = r#"#!/bin/sh
echo "docker $*" >>log
if [ "$2" = inspect ]; then echo sha256:0123456789abcdef; fi
"#;
const KUBECTL: &str = r#"#!/bin/sh
echo "kubectl $*" >>log
case "$*" in
  *"-f -") cat >>applied ;;
  *nodePort*) echo "$PORT" ;;
  *InternalIP*) echo 127.0.0.1 ;;
  *ssh_host_ed25519_key*) base64 host ;;
esac
"#;

#[test]
fn an_image_goes_by_a_registry() {
    let clone = tempfile::tempdir().expect("there is a folder for temporary files");
    let clone = clone.path();
    let copied =
        Command::new("cp").args(["-r", "scripts", "k8s"]).arg(clone).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(copied.expect("there is cp").success());
    let bin = clone.join("bin");
    fs::create_dir(&bin).expect("the folder is ours");
    for (name, text) in [("docker", DOCKER), ("kubectl", KUBECTL)] {
        fs::write(bin.join(name), text).expect("the folder is ours");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    }
    let alice = keygen(clone, "alice", "ed25519");
    keygen(clone, "host", "ed25519");
    let server = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = server.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut client in server.incoming().flatten() {
            let _ = client.write_all(b"SSH-2.0-here\r\n"); // Who has seen enough may be gone.
        }
    });
    let deploy = |arguments: &[&str]| {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("there is one"));
        let mut command = Command::new("scripts/deploy");
        command.args(arguments).current_dir(clone).env("PATH", path).env("PORT", port.to_string());
        command.output().expect("it can be run")
    };
    let read = |name: &str| fs::read_to_string(clone.join(name)).expect("it was written");

    let user = ["--registry", "registry.example.org/team/bastion", "--user", "alice=alice.pub"];
    let ready = said(&deploy(&user));
    let words = format!("ready: ssh -p {port} -o UserKnownHostsFile=");
    assert!(ready.starts_with(&words) && ready.ends_with(" alice@127.0.0.1\n"), "{ready}");
    assert!(ready.contains(&format!(" -i {} ", alice.display())), "{ready}");
    let calls = read("log");
    let at = |call: &str| calls.find(call).unwrap_or_else(|| panic!("no `{call}` in:\n{calls}"));
    let image = "registry.example.org/team/bastion:0123456789ab";
    assert!(at("docker build ") < at(&format!("docker push {image}\n")) && at("docker push ") < at("kubectl apply "));
    assert!(at(" -k k8s/crds\n") < at(" -k target/deploy/overlay\n"));
    let object = read("applied");
    assert!(object.contains("name: 'alice'") && object.contains(public(&alice).trim()), "{object}");
    let mut fingerprint = Command::new("ssh-keygen");
    fingerprint.args(["-lf", "target/deploy/known_hosts"]).current_dir(clone);
    let fingerprint = said(&fingerprint.output().expect("ssh-keygen is installed"));
    assert!(fingerprint.contains("SHA256:") && fingerprint.contains("(ED25519)"), "{fingerprint}");
    is_built(clone, image, "format = \"json\"");

    // Settings of one's own.
    fs::create_dir(clone.join("mine")).expect("the folder is ours");
    let kustomization = "resources: [../k8s/base]\nconfigMapGenerator:\n  - {name: bastion, namespace: bastion, behavior: replace, files: [bastion.toml]}\n";
    fs::write(clone.join("mine/kustomization.yaml"), kustomization).expect("the folder is ours");
    fs::write(clone.join("mine/bastion.toml"), "[ssh]\nmax_sessions = 7\n").expect("the folder is ours");
    said(&deploy(&[&user[..], &["--overlay", "mine"]].concat()));
    is_built(clone, image, "max_sessions = 7");
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether what was applied is of this image and has this line of settings, where a kubectl is there to tell.
fn is_built(clone: &Path, image: &str, setting: &str) {
    if is_installed("kubectl") {
        let built = said(
            &Command::new("kubectl")
                .args(["kustomize", "target/deploy/overlay"])
                .current_dir(clone)
                .output()
                .expect("it is there"),
        );
        assert_eq!(built.matches(&format!("image: {image}\n")).count(), 2, "{built}");
        assert!(built.contains(&format!("value: {image}\n")) && built.contains(setting), "{built}");
        // Where probes ask, whatever settings one has.
        assert_eq!(built.matches("name: BASTION_TELEMETRY__LISTEN\n").count(), 2, "{built}");
        assert_eq!(built.matches("kind: NetworkPolicy\n").count(), 2, "of the two that have telemetry: {built}");
    }
}
