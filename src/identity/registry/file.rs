//! Keys in a folder of `authorized_keys` files, one for each user. Read at each login, so a change holds at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use tracing::warn;

use super::{Found, KeyRegistry};
use crate::api::names;
use crate::identity::key_file::MAX_SIZE;
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
        let text = [format!("{login}.pub"), login.to_owned()].iter().find_map(|name| {
            let path = self.directory.join(name);
            match std::fs::metadata(&path) {
                Ok(file) if file.len() > MAX_SIZE => {
                    warn!(path = %path.display(), "a key file of over 1 MiB is not read");
                    None
                }
                Ok(_) => std::fs::read_to_string(&path)
                    .inspect_err(
                        |error| warn!(error = chain(error), path = %path.display(), "failed to read a key file"),
                    )
                    .ok(),
                Err(_) => None,
            }
        })?;
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
