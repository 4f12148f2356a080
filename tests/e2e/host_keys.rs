//! What the server proves itself with.

use crate::harness::{Product, certify, keygen, public};

/// `ssh-keygen -h` certificates, and keys of another kind than the first.
#[tokio::test]
async fn clients_choose_among_host_keys_and_certificates() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let file = |name: &str| folder.path().join(name);
    let (ca, ecdsa) = (keygen(folder.path(), "ca", "ed25519"), keygen(folder.path(), "ecdsa", "ecdsa"));
    let first = file("first");
    std::fs::write(first.with_extension("pub"), product.serve(&[]).await.host_key()).expect("the folder is ours");
    for key in [&first, &ecdsa] {
        certify(&ca, key, &["-h", "-n", "127.0.0.1"]);
    }
    let further = format!("ssh.further_host_keys=[\"{}\"]", ecdsa.display());
    let certificates = ["first-cert.pub", "ecdsa-cert.pub"].map(|name| format!("\"{}\"", file(name).display()));
    let certificates = format!("ssh.host_certificates=[{}]", certificates.join(","));
    let replica = product.serve(&[&further, &certificates]).await;
    alice.is_known_at(&replica).await;

    let knows = |line: String| std::fs::write(file("known_hosts"), line).expect("the folder is ours");
    let enters = async |kind: &str| {
        let known_hosts = file("known_hosts");
        let ssh = alice.ssh_at(&replica, "echo in").known_hosts(&known_hosts);
        ssh.option(&format!("HostKeyAlgorithms={kind}")).run().await.text() == "in\n"
    };
    let name = format!("[127.0.0.1]:{}", replica.port());
    knows(format!("{name} {}", public(&ecdsa)));
    assert!(enters("ecdsa-sha2-nistp256").await);
    assert!(!enters("ssh-ed25519").await);
    knows(format!("@cert-authority {name} {}", public(&ca)));
    for kind in ["ssh-ed25519-cert-v01@openssh.com", "ecdsa-sha2-nistp256-cert-v01@openssh.com"] {
        assert!(enters(kind).await, "{kind}");
    }
    assert!(!enters("ssh-ed25519").await);
}
