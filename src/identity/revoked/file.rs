//! The file with what is revoked: a list of OpenSSH's, or plain public keys. Read again when it changes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::public::KeyData;
use tracing::info;

use super::{Revoked, krl};
use crate::identity::Credential;
use crate::identity::key_file::{self, Error};

/// A list with a million certificates is smaller.
const MAX_SIZE: u64 = 16 * 1024 * 1024;
/// Two changes within so short a time may leave the same time on the file.
const CLOCK: Duration = Duration::from_secs(1);

/// What the file at a path says.
pub(in crate::identity) struct RevokedKeys {
    path: PathBuf,
    last: Mutex<Option<(Version, Arc<Revoked>)>>,
}

impl RevokedKeys {
    /// Fails if it could not be used at a login.
    pub(in crate::identity) fn new(path: PathBuf) -> Result<Self, Error> {
        let revoked = Self { path, last: Mutex::default() };
        revoked.read()?;
        Ok(revoked)
    }

    /// Whether `credential` lets nobody in: its key, or the certificate or its authority's key.
    pub(in crate::identity) fn contains(&self, credential: Credential<'_>) -> Result<bool, Error> {
        let revoked = self.read()?;
        let unknown = |source| Error::Key { path: self.path.clone(), source };
        let key = |key: &KeyData| revoked.contains_key(key).map_err(unknown);
        match credential {
            Credential::Key(public) => key(public.key_data()),
            Credential::Certificate(certificate) => Ok(key(certificate.public_key())?
                || key(certificate.signature_key())?
                || revoked.contains_certificate(certificate).map_err(unknown)?),
        }
    }

    fn read(&self) -> Result<Arc<Revoked>, Error> {
        let version = Version::of(&self.path)?;
        let mut last = self.last.lock();
        if let Some((known, revoked)) = &*last
            && *known == version
        {
            return Ok(revoked.clone());
        }
        // Whatever goes wrong now: what was known is not what holds.
        *last = None;
        let revoked = Arc::new(parse(&self.path)?);
        let Revoked { keys, sha1, sha256, certificates } = &*revoked;
        let (keys, authorities) = (keys.len() + sha1.len() + sha256.len(), certificates.len());
        info!(path = %self.path.display(), keys, authorities, "read the revoked keys");
        if version.is_settled(SystemTime::now()) {
            *last = Some((version, revoked.clone()));
        }
        Ok(revoked)
    }
}

fn parse(path: &Path) -> Result<Revoked, Error> {
    let bytes = key_file::read_bytes(path, MAX_SIZE)?;
    if bytes.starts_with(krl::MAGIC) {
        return krl::parse(&bytes).map_err(|source| Error::Krl { path: path.into(), source });
    }
    let encode = |key: &russh::keys::PublicKey| key.key_data().encode_vec();
    let keys = key_file::parse(path, &bytes)?.iter().map(encode).collect::<Result<_, _>>();
    let keys = keys.map_err(|error| Error::Key { path: path.into(), source: error.into() })?;
    Ok(Revoked { keys, ..Revoked::default() })
}

/// What differs once a file has changed, or another one is in its place.
#[derive(Clone, Copy, Hash, PartialEq)]
pub(in crate::identity) struct Version {
    device: u64,
    file: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    pub(in crate::identity) fn of(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(|source| Error::Read { path: path.into(), source })?;
        Ok(Self {
            device: metadata.dev(),
            file: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether a further change, `now` or later, would leave another time.
    fn is_settled(&self, now: SystemTime) -> bool {
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(self.changed.0), u32::try_from(self.changed.1)) else {
            return false;
        };
        let changed = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        now.duration_since(changed).is_ok_and(|age| age > CLOCK)
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::PublicKey;

    use super::*;

    const LIST: &[u8] = include_bytes!("ssh-keygen.krl");
    /// Of the keys of `super::super::tests`, the second: by itself in the list.
    const LISTED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn contains(revoked: &RevokedKeys, key: &str) -> Result<bool, Error> {
        revoked.contains(Credential::Key(&PublicKey::from_openssh(key).unwrap()))
    }

    #[test]
    fn a_change_holds_at_once_and_what_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked");
        assert!(matches!(RevokedKeys::new(path.clone()), Err(Error::Read { .. })));
        std::fs::write(&path, "# nobody\n").unwrap();
        let revoked = RevokedKeys::new(path.clone()).unwrap();
        assert!(!contains(&revoked, LISTED).unwrap());
        for content in [LIST, LISTED.as_bytes()] {
            std::fs::write(&path, content).unwrap();
            assert!(contains(&revoked, LISTED).unwrap());
            assert!(!contains(&revoked, OTHER).unwrap());
        }
        std::fs::write(&path, &LIST[..LIST.len() - 1]).unwrap();
        assert!(matches!(contains(&revoked, OTHER), Err(Error::Krl { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(contains(&revoked, OTHER), Err(Error::Read { .. })));
    }

    #[test]
    fn a_file_may_change_unseen_within_its_first_second() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let version = Version { changed: (100, 995_000_000), ..Version::of(file.path()).unwrap() };
        let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
        let settled = [100_000, 100_995, 101_001, 101_995, 101_996].map(|time| version.is_settled(at(time)));
        assert_eq!(settled, [false, false, false, false, true]);
    }

    #[test]
    fn an_old_file_is_read_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), LISTED).unwrap();
        let revoked = RevokedKeys::new(file.path().into()).unwrap();
        std::thread::sleep(CLOCK + Duration::from_millis(100));
        assert!(contains(&revoked, LISTED).unwrap());
        let (_, first) = revoked.last.lock().clone().unwrap();
        assert!(Arc::ptr_eq(&first, &revoked.read().unwrap()));
        std::fs::write(file.path(), OTHER).unwrap();
        assert!(!contains(&revoked, LISTED).unwrap());
        assert!(contains(&revoked, OTHER).unwrap());
    }
}
