//! Files that are plain lists of public keys, one a line.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use russh::keys::{PublicKey, ssh_key};

use super::revoked::KrlError;

/// Why the keys in a file are not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is over {} MiB long", path.display(), limit >> 20)]
    TooLong { path: PathBuf, limit: u64 },
    #[error("{} is not a valid key revocation list", path.display())]
    Krl { path: PathBuf, source: KrlError },
    #[error("failed to compare a key with those in {}", path.display())]
    Key { path: PathBuf, source: ssh_key::Error },
    #[error("{}: line {line} is not a valid public key", path.display())]
    NoKey { path: PathBuf, line: usize },
}

pub(super) const MAX_SIZE: u64 = 1024 * 1024;

/// The keys in `path`, all or none.
pub(super) fn read(path: &Path) -> Result<Vec<PublicKey>, Error> {
    parse(path, &read_bytes(path, MAX_SIZE)?)
}

/// What is in `path`, if it is no longer than `limit` bytes.
pub(super) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|source| Error::Read { path: path.into(), source })?;
    match bytes.len() as u64 > limit {
        true => Err(Error::TooLong { path: path.into(), limit }),
        false => Ok(bytes),
    }
}

/// The keys in `bytes`, which came from `path`; all or none.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<PublicKey>, Error> {
    let text = String::from_utf8_lossy(bytes);
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(line, text)| PublicKey::from_openssh(text).map_err(|_| Error::NoKey { path: path.into(), line }))
        .collect()
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::certificate::Builder;
    use russh::keys::{Algorithm, PrivateKey};

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn read_text(text: &[u8]) -> Result<Vec<PublicKey>, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    fn certificate() -> String {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        let mut builder = Builder::new(vec![7; 16], key.public_key().key_data().clone(), 0, u64::MAX).unwrap();
        builder.valid_principal("alice").unwrap();
        builder.sign(&key).unwrap().to_openssh().unwrap()
    }

    #[test]
    fn keys_are_read_past_comments() {
        assert_eq!(read_text(format!("# ours\n\n{KEY} ca\n").as_bytes()).unwrap().len(), 1);
        assert!(read_text(b"").unwrap().is_empty());
    }

    #[test]
    fn a_list_that_is_not_understood_is_no_list() {
        assert!(matches!(read_text(format!("{KEY}\nserial: 7\n").as_bytes()), Err(Error::NoKey { line: 2, .. })));
        // It would be taken for a list of nothing, as no key is equal to it.
        assert!(matches!(read_text(certificate().as_bytes()), Err(Error::NoKey { line: 1, .. })));
        assert!(matches!(read_text(&vec![b'#'; 1024 * 1024 + 1]), Err(Error::TooLong { .. })));
        assert!(matches!(read(Path::new("/nonexistent/keys")), Err(Error::Read { .. })));
    }
}
