//! The host keys of DevServers, which have no sshd that could keep one, and the authority that vouches for them.
//!
//! All are derived from the bastion's own host key: the same on every replica and after every restart, and kept
//! nowhere.

use hkdf::Hkdf;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Certificate, PrivateKey, PublicKeyBase64, ssh_key};
use sha2::Sha256;

/// Signs the host keys of all DevServers.
pub struct Authority {
    secret: Hkdf<Sha256>,
    key: PrivateKey,
}

impl Authority {
    /// The authority that belongs to the bastion with this host key.
    pub fn new(host_key: &PrivateKey) -> Result<Self, ssh_key::Error> {
        let secret = Hkdf::new(Some(b"bastion"), &host_key.to_bytes()?);
        let key = derive(&secret, &["host-authority"]);
        Ok(Self { secret, key })
    }

    /// What a client writes into its `known_hosts` file (sshd(8)) to trust each host that `patterns` match and that
    /// this authority vouches for.
    pub fn known_hosts_line(&self, patterns: &str) -> String {
        format!("@cert-authority {patterns} {} {}", self.key.algorithm().as_str(), self.key.public_key_base64())
    }

    /// The host key of a user's DevServer, and a certificate that it is what `ssh` may call `names`.
    pub(super) fn host_key(
        &self,
        user: &str,
        devserver: &str,
        names: &[String],
    ) -> Result<(PrivateKey, Certificate), ssh_key::Error> {
        let key = derive(&self.secret, &["devserver", user, devserver]);
        // Always the same: no clock, and a nonce that comes from the key.
        let nonce = &derive_bytes(&self.secret, &["nonce", user, devserver])[..16];
        let mut builder = Builder::new(nonce.to_vec(), key.public_key().key_data().clone(), 0, u64::MAX)?;
        builder.cert_type(CertType::Host)?.key_id(format!("{user}/{devserver}"))?;
        for name in names {
            builder.valid_principal(name.as_str())?;
        }
        Ok((key, builder.sign(&self.key)?))
    }
}

fn derive(secret: &Hkdf<Sha256>, purpose: &[&str]) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&derive_bytes(secret, purpose)))
}

fn derive_bytes(secret: &Hkdf<Sha256>, purpose: &[&str]) -> [u8; 32] {
    let mut bytes = [0; 32];
    secret.expand(purpose.join("/").as_bytes(), &mut bytes).expect("32 bytes can be had");
    bytes
}

#[cfg(test)]
mod tests {
    use russh::keys::{Algorithm, HashAlg};

    use super::*;

    fn authority(seed: u8) -> Authority {
        Authority::new(&PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))).unwrap()
    }

    #[test]
    fn a_devserver_has_its_own_key_always() {
        let key = |seed, user, name| {
            authority(seed).host_key(user, name, &["x".into()]).unwrap().0.fingerprint(HashAlg::Sha256)
        };
        assert_eq!(key(1, "alice", "dev"), key(1, "alice", "dev"));
        let others = [key(1, "alice", "gpu"), key(1, "bob", "dev"), key(2, "alice", "dev")];
        assert!(others.iter().all(|other| *other != key(1, "alice", "dev")));
    }

    #[test]
    fn the_authority_vouches_for_the_names() {
        let authority = authority(1);
        let (key, certificate) = authority.host_key("alice", "dev", &["dev".into(), "dev.alice".into()]).unwrap();
        assert_eq!(key.algorithm(), Algorithm::Ed25519);
        assert_eq!(certificate.valid_principals(), ["dev", "dev.alice"]);
        assert!(certificate.validate([&authority.key.fingerprint(HashAlg::Sha256)]).is_ok());
        assert!(authority.known_hosts_line("*.alice").starts_with("@cert-authority *.alice ssh-ed25519 AAAA"));
    }
}
