//! Keys that live in hardware (FIDO2), by OpenSSH's client and an agent of the test's own.

use std::path::Path;

use crate::harness::{Presence, Product, Replica, SecurityKey, Ssh, User};

/// Where a file says what her key may.
async fn with_file(product: &Product, folder: &Path) -> (User, Replica) {
    let files = format!("identity.registries=[{{ kind = \"files\", directory = \"{}\" }}]", folder.display());
    (product.user("alice").await, product.serve(&[&files]).await)
}

#[tokio::test]
async fn a_security_key_lets_in_whose_signature_is_good() {
    let product = Product::shared().await;
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let (alice, replica) = with_file(&product, folder.path()).await;
    let enters = async |key: &SecurityKey, options: &str| {
        let line = format!("{options}{}", key.public());
        std::fs::write(folder.path().join(alice.name()), line).expect("the folder is ours");
        let ssh = Ssh::new(&replica, alice.name()).agent(key.socket()).command("echo in");
        ssh.run().await.text() == "in\n"
    };
    for key in [SecurityKey::ed25519(), SecurityKey::ecdsa()] {
        assert!(enters(&key, "").await);
        key.shows(Presence::Verified);
        assert!(enters(&key, "").await);
        key.shows(Presence::None);
        assert!(enters(&key, "no-touch-required ").await);
        // That nobody can check: such a key is no key.
        assert!(!enters(&key, "verify-required ").await);
    }
    assert!(!enters(&SecurityKey::of_another_application(), "").await);
}
