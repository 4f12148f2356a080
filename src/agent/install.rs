//! `bastion-agent install FOLDER`: what the pod's init container runs.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::place::{COMMANDS, PROGRAM};
use super::scp::SCP;

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
