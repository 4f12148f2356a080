//! Where things are kept on a laptop.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::failure::Failure;

/// The folders that devctl knows of.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) home: PathBuf,
    /// devctl's own.
    config: PathBuf,
}

/// For files that name hosts, keys and people.
const PRIVATE: u32 = 0o600;

impl Places {
    pub(super) fn find() -> Result<Self, Failure> {
        let home = env::home_dir().filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| Failure::new("you have no home folder").cure("set HOME"))?;
        // The XDG base directory specification: a relative path is as none.
        let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Ok(Self::new(home.clone(), config.unwrap_or_else(|| home.join(".config"))))
    }

    pub(super) fn new(home: PathBuf, config: PathBuf) -> Self {
        Self { home, config: config.join("devctl") }
    }

    /// What `devctl login` wrote.
    pub(super) fn settings(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// What `devctl config ssh enable` has OpenSSH include.
    pub(super) fn ssh_config(&self) -> PathBuf {
        self.config.join("ssh_config")
    }

    /// Who vouches for DevServers' host keys.
    pub(super) fn known_hosts(&self) -> PathBuf {
        self.config.join("known_hosts")
    }

    /// OpenSSH's folder.
    pub(super) fn ssh(&self) -> PathBuf {
        self.home.join(".ssh")
    }

    /// A path as OpenSSH's files have it: `~` is the home folder.
    pub(super) fn expand(&self, path: &str) -> PathBuf {
        match path.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => self.home.join(&rest[1..]),
            _ => path.into(),
        }
    }

    /// A path as a person writes it.
    pub(super) fn shorten(&self, path: &Path) -> String {
        match path.strip_prefix(&self.home) {
            Ok(rest) => format!("~/{}", rest.display()),
            Err(_) => path.display().to_string(),
        }
    }
}

/// What is in the file, if there is one. A comment may be in any encoding; what is no UTF-8 is of no use to us.
pub(super) fn read(path: &Path) -> Result<Option<String>, Failure> {
    Ok(read_bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The same byte for byte, for whoever writes it again.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// Puts `text` in the place of the file in one step: it is the old one or the new one at any time. A symlink stays one,
/// and the file keeps its mode; a new one is for its owner's eyes only.
pub(super) fn replace(path: &Path, text: &[u8]) -> Result<(), Failure> {
    write(path, text).map_err(|error| failed("write", path, &error))
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => path.to_owned(),
        Err(error) => return Err(error),
    };
    let folder = target.parent().ok_or(ErrorKind::InvalidInput)?;
    make_folder(folder)?;
    let mode = match fs::metadata(&target) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(_) => PRIVATE,
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(target)?;
    Ok(())
}

/// A folder that is nobody else's business.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Takes the file away, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

pub(super) fn failed(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("failed to {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_behind_its_symlink_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_new_file_is_private_and_its_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b");
        replace(&file, b"x").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_symlink_to_nothing_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nothing", &link).unwrap();
        assert!(replace(&link, b"x").is_err());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn homes_are_tildes() {
        let places = Places::new("/home/alice".into(), "/home/alice/.config".into());
        assert_eq!(places.expand("~/.ssh/id"), Path::new("/home/alice/.ssh/id"));
        assert_eq!(places.expand("~bob/x"), Path::new("~bob/x"));
        assert_eq!(places.shorten(Path::new("/home/alice/.ssh/id")), "~/.ssh/id");
        assert_eq!(places.shorten(Path::new("/etc/ssh")), "/etc/ssh");
    }
}
