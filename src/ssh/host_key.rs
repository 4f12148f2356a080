//! The key that proves to clients that this is the bastion.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKeyBase64};

/// Reads the key from `path`; makes one there, for its owner's eyes only, if there is no file yet.
pub fn load_or_create(path: &Path) -> Result<PrivateKey, Error> {
    let failed = |source| Error::File { path: path.display().to_string(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = generate()?;
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
            std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
            parse(&text)
        }
        Err(error) => Err(failed(error)),
    }
}

/// A new key, in OpenSSH's format. Ed25519: small, fast, and understood by every client of this decade.
pub fn generate() -> Result<String, Error> {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
    Ok(key.to_openssh(LineEnding::LF)?.to_string())
}

/// Reads a key from OpenSSH's format.
pub fn parse(text: &str) -> Result<PrivateKey, Error> {
    Ok(PrivateKey::from_openssh(text)?)
}

/// The line of a `known_hosts` file (sshd(8)) that pins `key` for `host` and `port`.
pub fn known_hosts_line(host: &str, port: u16, key: &PrivateKey) -> String {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    format!("{name} {} {}\n", key.algorithm().as_str(), key.public_key().public_key_base64())
}

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read or write the host key {path}")]
    File { path: String, source: std::io::Error },
    #[error("not a private key in OpenSSH's format")]
    Format(#[from] russh::keys::ssh_key::Error),
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_key");
        let first = load_or_create(&path).unwrap();
        let second = load_or_create(&path).unwrap();
        assert_eq!(first.public_key(), second.public_key());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(known_hosts_line("127.0.0.1", 2222, &first).starts_with("[127.0.0.1]:2222 ssh-ed25519 AAAA"));
        assert!(known_hosts_line("bastion", 22, &first).starts_with("bastion ssh-ed25519 AAAA"));
    }
}
