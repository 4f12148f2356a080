//! `bastion-agent install FOLDER`: what the pod's init container runs.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::scp::SCP;

/// The name of the program in the folder.
pub const PROGRAM: &str = "bastion-agent";

/// Beside the program: what it can stand in for, for sessions' `PATH`.
const COMMANDS: &str = "bin";

/// Copies this program into `folder`, with the commands that it is besides.
pub fn install(folder: &Path) -> io::Result<()> {
    // Under another name first: a container that starts meanwhile must not find half of it.
    let unfinished = folder.join(".bastion-agent");
    fs::copy(std::env::current_exe()?, &unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    fs::rename(unfinished, folder.join(PROGRAM))?;
    super::startup::install(folder)?;
    let commands = folder.join(COMMANDS);
    fs::create_dir_all(&commands)?;
    match symlink(Path::new("..").join(PROGRAM), commands.join(SCP)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Where this program was installed.
pub(super) fn folder() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}

/// Where the commands are that stand in for those that the image lacks.
pub(super) fn commands() -> Option<PathBuf> {
    Some(folder()?.join(COMMANDS))
}
