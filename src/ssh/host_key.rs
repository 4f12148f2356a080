//! The key that proves to clients that this is the bastion.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKeyBase64};
use tracing::{info, warn};

use super::Config;

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

/// What the server proves itself with.
#[derive(Clone)]
pub struct HostKeys {
    /// Not empty.
    pub(super) keys: Vec<PrivateKey>,
    pub(super) certificates: Vec<Certificate>,
}

impl HostKeys {
    /// `first`, and what the configuration names besides.
    pub fn new(first: PrivateKey, config: &Config) -> Result<Self, Error> {
        let further = config.further_host_keys.iter().map(|path| read_further(path));
        let keys = std::iter::once(Ok(first)).chain(further).collect::<Result<Vec<_>, _>>()?;
        let certificates = config.host_certificates.iter().map(|path| read_certificate(path, &keys));
        let certificates = certificates.collect::<Result<_, _>>()?;
        Ok(Self { keys, certificates })
    }
}

fn read_further(path: &Path) -> Result<PrivateKey, Error> {
    let wrong = |why| Error::Unusable { path: path.display().to_string(), why };
    let key =
        PrivateKey::from_openssh(read(path)?).map_err(|_| wrong("it is not a private key in OpenSSH's format"))?;
    match key.algorithm() {
        _ if key.is_encrypted() => Err(wrong("it has a passphrase")),
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        _ => Err(wrong("it is neither an ed25519 nor an ECDSA key")),
    }
}

fn read_certificate(path: &Path, keys: &[PrivateKey]) -> Result<Certificate, Error> {
    let wrong = |why| Error::Unusable { path: path.display().to_string(), why };
    let certificate = Certificate::from_openssh(read(path)?.trim()).map_err(|_| wrong("it is not a certificate"))?;
    if certificate.cert_type() != CertType::Host {
        return Err(wrong("it is not a host certificate"));
    }
    if !keys.iter().any(|key| key.public_key().key_data() == certificate.public_key()) {
        return Err(wrong("it is of none of the host keys"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if !(certificate.valid_after()..certificate.valid_before()).contains(&now) {
        warn!(path = %path.display(), "a host certificate is not valid now: clients go by the key within");
    }
    info!(path = %path.display(), names = ?certificate.valid_principals(), "has a host certificate");
    Ok(certificate)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File { path: path.display().to_string(), source })
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
    #[error("failed to read or write {path}")]
    File { path: String, source: std::io::Error },
    #[error("the host key or certificate {path} cannot be used: {why}")]
    Unusable { path: String, why: &'static str },
    #[error("not a private key in OpenSSH's format")]
    Format(#[from] russh::keys::ssh_key::Error),
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use russh::keys::EcdsaCurve;
    use russh::keys::ssh_key::certificate::Builder;

    use super::*;

    fn new_key(algorithm: Algorithm) -> PrivateKey {
        PrivateKey::random(&mut rand::rng(), algorithm).unwrap()
    }

    fn certificate(key: &PrivateKey, kind: CertType) -> String {
        let mut builder = Builder::new(vec![7; 16], key.public_key().key_data().clone(), 0, u64::MAX).unwrap();
        builder.cert_type(kind).unwrap().valid_principal("bastion.example.org").unwrap();
        builder.sign(&new_key(Algorithm::Ed25519)).unwrap().to_openssh().unwrap()
    }

    #[test]
    fn what_cannot_be_a_host_key_or_its_certificate_is_refused() {
        let (first, other) = (new_key(Algorithm::Ed25519), new_key(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }));
        let why = |key: &str, text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let read = match key {
                "key" => read_further(file.path()).map(|_| ()),
                _ => read_certificate(file.path(), std::slice::from_ref(&first)).map(|_| ()),
            };
            match read {
                Ok(()) => "",
                Err(Error::Unusable { why, .. }) => why,
                Err(error) => panic!("{error}"),
            }
        };
        let openssh = |key: &PrivateKey| key.to_openssh(LineEnding::LF).unwrap().to_string();
        assert_eq!(why("key", &openssh(&other)), "");
        assert_eq!(why("key", &openssh(&other.encrypt(&mut rand::rng(), "secret").unwrap())), "it has a passphrase");
        assert_eq!(why("key", "nonsense"), "it is not a private key in OpenSSH's format");
        assert_eq!(why("certificate", &certificate(&first, CertType::Host)), "");
        assert_eq!(why("certificate", &certificate(&first, CertType::User)), "it is not a host certificate");
        assert_eq!(why("certificate", &certificate(&other, CertType::Host)), "it is of none of the host keys");
        assert_eq!(why("certificate", &first.public_key().to_openssh().unwrap()), "it is not a certificate");
    }

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
