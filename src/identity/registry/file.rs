//! Keys in a folder of `authorized_keys` files, one for each user. Read at each login, so a change holds at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::PathBuf;

use tracing::warn;

use super::{Found, KeyRegistry};
use crate::api::names;
use crate::identity::key_file::{self, MAX_SIZE};
use crate::identity::revoked::Version;
use crate::telemetry::chain;

pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

impl KeyRegistry for Files {
    fn find(&self, login: &str) -> Option<Found> {
        // Also what keeps the name from leaving the folder.
        if !names::is_user_name(login) {
            return None;
        }
        // The first that is there is hers, even if it cannot be read.
        let read = [format!("{login}.pub"), login.to_owned()].iter().find_map(|name| {
            match key_file::read_bytes(&self.directory.join(name), MAX_SIZE) {
                Err(key_file::Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => None,
                read => Some(read),
            }
        })?;
        let bytes = read.inspect_err(|error| warn!(error = chain(error), "a key file is not read")).ok()?;
        // Comments may be in any encoding.
        let text = String::from_utf8_lossy(&bytes);
        Some(Found {
            user: login.to_owned(),
            registry: "files".to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
        })
    }

    fn version(&self) -> u64 {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        let mut hasher = DefaultHasher::new();
        for path in files {
            (&path, Version::of(&path).ok()).hash(&mut hasher);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        std::fs::write(folder.path().join("secret.pub"), "x").unwrap();
        let files = Files::new(folder.path().join("keys"));
        assert!(files.find("../secret").is_none());
        assert!(files.find("").is_none());
    }

    #[test]
    fn comments_may_be_in_any_encoding() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("alice.pub"), b"key J\xe9r\xf4me\nother\n").unwrap();
        let lines = Files::new(folder.path().to_owned()).find("alice").unwrap().lines;
        assert!(lines[0].starts_with("key J") && lines[1] == "other", "{lines:?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_made_up_for_by_the_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("alice"), "old").unwrap();
        let files = Files::new(folder.path().to_owned());
        assert_eq!(files.find("alice").unwrap().lines, ["old"]);
        std::fs::write(folder.path().join("alice.pub"), vec![b'#'; MAX_SIZE as usize + 1]).unwrap();
        assert!(files.find("alice").is_none());
    }

    #[test]
    fn a_change_is_seen_at_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        assert!(files.find("alice").is_none());
        let empty = files.version();
        std::fs::write(folder.path().join("alice.pub"), "one\ntwo\n").unwrap();
        let first = files.version();
        assert!(first != empty && first == files.version());
        assert_eq!(files.find("alice").unwrap().lines, ["one", "two"]);
        std::fs::write(folder.path().join("alice.pub"), "three\n").unwrap();
        assert_ne!(files.version(), first);
        assert_eq!(files.find("alice").unwrap().lines, ["three"]);
    }
}
