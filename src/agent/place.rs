//! Where the program is in a pod.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The name of the program in its folder.
pub const PROGRAM: &str = "bastion-agent";

/// Beside the program: what it can stand in for, for sessions' `PATH`.
pub(super) const COMMANDS: &str = "bin";

/// Where this program was installed.
pub(super) fn folder() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
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
