//! `bastion-agent install FOLDER`: what the pod's init container runs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The name of the program in the folder.
pub const PROGRAM: &str = "bastion-agent";

/// Copies this program into `folder`.
pub fn install(folder: &Path) -> io::Result<()> {
    // Under another name first: a container that starts meanwhile must not find half of it.
    let unfinished = folder.join(".bastion-agent");
    fs::copy(std::env::current_exe()?, &unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    fs::rename(unfinished, folder.join(PROGRAM))
}
