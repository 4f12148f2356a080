//! Where the program is in a pod.

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
