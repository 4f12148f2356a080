//! Completion for shells.

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;

/// What the shell is to read at its start.
pub(super) fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "devctl", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
