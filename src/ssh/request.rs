//! What a client asks for on a session channel (RFC 4254 §6.2–6.5), up to the program to run.

use russh::{ChannelMsg, ChannelReadHalf};
use tracing::debug;

use super::variables::{PERSIST, Variables};
use super::{Config, forward};
use crate::identity::Permissions;
use crate::workspace::{Command, Program, Terminal, TerminalSize};

/// The type of a terminal that cannot even move its cursor.
const DUMB: &str = "dumb";
/// The one subsystem there is.
pub(super) const SFTP: &str = "sftp";
/// What stands for it where a command is forced (sshd_config(5), `ForceCommand`), and scripts know it by.
const INTERNAL_SFTP: &str = "internal-sftp";

/// Reads up to the request to run something; `None` if the client closes before. Replies are the connection's part.
pub(super) async fn read(reader: &mut ChannelReadHalf, permissions: &Permissions, config: &Config) -> Option<Command> {
    let mut terminal = None;
    let mut ssh_agent = false;
    let mut x11 = None;
    let mut detached =
        Some(config.detached_shell_timeout).filter(|detached| !detached.is_zero() && permissions.persistent_shells);
    let (mut variables, mut environment) = (Variables::default(), Vec::<(String, String)>::new());
    let program = loop {
        match reader.wait().await? {
            ChannelMsg::RequestPty { term, col_width, row_height, terminal_modes, .. } if permissions.pty => {
                let modes = terminal_modes.into_iter().map(|(opcode, argument)| (opcode as u8, argument)).collect();
                let size = terminal_size(col_width, row_height);
                terminal = Some(Terminal { term: terminal_type(&term), size, modes });
            }
            ChannelMsg::WindowChange { col_width, row_height, .. } => {
                if let Some(terminal) = &mut terminal {
                    terminal.size = terminal_size(col_width, row_height);
                }
            }
            ChannelMsg::SetEnv { variable_name: name, variable_value: value, .. } if name == PERSIST => {
                detached = detached.filter(|_| value != "0");
            }
            ChannelMsg::SetEnv { variable_name: name, variable_value: value, .. }
                if variables.admit(&config.accept_env, &name, &value) =>
            {
                environment.push((name, value));
            }
            ChannelMsg::AgentForward { .. } => ssh_agent = true,
            ChannelMsg::RequestX11 {
                single_connection,
                x11_authentication_protocol: protocol,
                x11_authentication_cookie: cookie,
                x11_screen_number: screen,
                ..
            } => x11 = forward::x11(single_connection, &protocol, &cookie, screen),
            ChannelMsg::RequestShell { .. } => break Program::Shell,
            ChannelMsg::RequestSubsystem { name, .. } if name == SFTP => break Program::Sftp,
            ChannelMsg::Exec { command, .. } => break Program::Command(command),
            ChannelMsg::Close => return None,
            other => debug!(?other, "ignored before a program runs"),
        }
    };
    let program = force(program, permissions, &mut environment);
    // Programs say dumb, Emacs for one: they know no screen to come back to, and whoever logs in next would be in theirs.
    let detached = detached.filter(|_| terminal.as_ref().is_some_and(|terminal| terminal.term != DUMB));
    Some(Command { program, terminal, environment, ssh_agent, x11, detached })
}

/// A forced command takes the place of `asked`, and may read in its environment what that was (sshd(8), `command`).
fn force(asked: Program, permissions: &Permissions, environment: &mut Vec<(String, String)>) -> Program {
    let Some(forced) = &permissions.forced_command else { return asked };
    let asked = match asked {
        Program::Shell | Program::Shells(_) => None,
        Program::Command(asked) => Some(String::from_utf8_lossy(&asked).into_owned()),
        Program::Sftp => Some(INTERNAL_SFTP.to_owned()),
    };
    environment.extend(asked.map(|asked| ("SSH_ORIGINAL_COMMAND".to_owned(), asked)));
    match forced == INTERNAL_SFTP {
        true => Program::Sftp,
        false => Program::Command(forced.clone().into_bytes()),
    }
}

/// Why what is forced cannot be run, as it would be here without what its options keep from whoever is forced to it.
pub(super) fn refusal(permissions: &Permissions) -> Option<&'static str> {
    let options = permissions.forced_command.as_ref()?.strip_prefix(INTERNAL_SFTP)?;
    let why = "the command that is forced for this key is internal-sftp with options, and this server has none";
    options.starts_with([' ', '\t']).then_some(why)
}

/// A name for `TERM` that no terminfo lookup can be led astray with.
fn terminal_type(asked: &str) -> String {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte);
    match !asked.is_empty() && asked.len() <= 64 && asked.bytes().all(word) {
        true => asked.to_owned(),
        false => DUMB.to_owned(),
    }
}

/// RFC 4254 §6.2 counts in u32; no kernel does. Zero means unknown.
pub(super) fn terminal_size(columns: u32, rows: u32) -> TerminalSize {
    let bounded = |n: u32, unknown: u16| if n == 0 { unknown } else { n.min(u16::MAX.into()) as u16 };
    TerminalSize { columns: bounded(columns, 80), rows: bounded(rows, 24) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_what_a_kernel_can_have() {
        assert_eq!(terminal_size(0, 0), TerminalSize { columns: 80, rows: 24 });
        assert_eq!(terminal_size(u32::MAX, 7), TerminalSize { columns: u16::MAX, rows: 7 });
        assert_eq!(terminal_type("xterm-256color"), "xterm-256color");
        assert_eq!(terminal_type("../../etc"), "dumb");
    }
}
