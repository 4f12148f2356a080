//! Where the program is in a pod.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The name of the program in its folder.
pub const PROGRAM: &str = "bastion-agent";

/// Beside the program, where it came with one: what reads GPUs (src/nvml).
pub(super) const NVML: &str = "bastion-nvml";

/// Beside the program: what it can stand in for, for sessions' `PATH`.
pub(super) const COMMANDS: &str = "bin";

/// Where this program was installed.
pub(super) fn folder() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}

/// A program that was installed beside this one.
pub(super) fn companion(name: &str) -> Option<PathBuf> {
    let owner = fs::metadata("/proc/self/exe").ok()?.uid();
    Some(folder()?.join(name)).filter(|path| is_owned(path, owner))
}

/// Where none was installed, others of the container may put one of theirs. A link is whoever's who made it.
fn is_owned(path: &Path, owner: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.uid() == owner)
}

/// Where the commands are that stand in for those that the image lacks.
pub(super) fn commands() -> Option<PathBuf> {
    Some(folder()?.join(COMMANDS))
}

/// Keeps other users of the container from putting something of theirs in the program's place, which root's next
/// session would run: a pod's volumes may be written by all. Whoever installed it may do so again, after a node's
/// restart.
pub(super) fn guard() -> io::Result<()> {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let installed = folder().filter(|folder| folder.join(COMMANDS).is_dir());
    let Some(folder) = installed.filter(|_| rustix::process::getuid().is_root()) else { return Ok(()) };
    let mode = fs::metadata(&folder)?.permissions().mode();
    match mode & OTHERS_WRITE {
        0 => Ok(()),
        _ => fs::set_permissions(&folder, fs::Permissions::from_mode(mode | STICKY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_companion_is_a_file_of_whoever_installed_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NVML);
        let owner = fs::metadata(folder.path()).unwrap().uid();
        assert!(!is_owned(&path, owner));
        std::os::unix::fs::symlink("/bin/sh", &path).unwrap();
        assert!(!is_owned(&path, owner));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(is_owned(&path, owner) && !is_owned(&path, owner + 1));
    }
}
