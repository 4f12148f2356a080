//! What a client asks for on a session channel (RFC 4254 §6.2–6.5), up to the program to run.

use std::time::Duration;

use russh::{ChannelMsg, ChannelReadHalf, Pty};
use tokio::sync::oneshot;

use super::Config;
use super::variables::{AcceptEnv, PERSIST, Variables};
use crate::identity::Permissions;
use crate::workspace::{Command, Program, Terminal, TerminalSize, X11};

/// The type of a terminal that cannot even move its cursor.
const DUMB: &str = "dumb";
/// The one subsystem there is.
pub(super) const SFTP: &str = "sftp";
/// What stands for it where a command is forced (sshd_config(5), `ForceCommand`), and scripts know it by.
const INTERNAL_SFTP: &str = "internal-sftp";

/// What a session was granted that runs nothing yet. As with sshd, only for these something may be asked that a program
/// begins with, and of these only one program (RFC 4254 §6.5).
pub(super) struct Request {
    terminal: Option<Terminal>,
    environment: Vec<(String, String)>,
    variables: Variables,
    detached: Option<Duration>,
    pub(super) ssh_agent: bool,
    pub(super) x11: Option<X11>,
    begin: oneshot::Sender<Command>,
}

impl Request {
    /// The session gets its command by `begin`.
    pub(super) fn new(permissions: &Permissions, config: &Config, begin: oneshot::Sender<Command>) -> Self {
        let detached = Some(config.detached_shell_timeout);
        Self {
            terminal: None,
            environment: Vec::new(),
            variables: Variables::default(),
            detached: detached.filter(|detached| !detached.is_zero() && permissions.persistent_shells),
            ssh_agent: false,
            x11: None,
            begin,
        }
    }

    pub(super) fn set_terminal(&mut self, term: &str, size: TerminalSize, modes: &[(Pty, u32)]) {
        let modes = modes.iter().map(|(opcode, argument)| (*opcode as u8, *argument)).collect();
        self.terminal = Some(Terminal { term: terminal_type(term), size, modes });
    }

    pub(super) fn resize(&mut self, size: TerminalSize) {
        if let Some(terminal) = &mut self.terminal {
            terminal.size = size;
        }
    }

    /// Whether the client may set this variable; if so, it is set.
    pub(super) fn set_variable(&mut self, accept: &AcceptEnv, name: &str, value: &str) -> bool {
        let admitted = self.variables.admit(accept, name, value);
        if name == PERSIST {
            self.detached = self.detached.filter(|_| value != "0");
        } else if admitted {
            self.environment.push((name.to_owned(), value.to_owned()));
        }
        admitted
    }

    /// The session runs `asked`, or what its key is bound to.
    pub(super) fn begin(self, asked: Program, permissions: &Permissions) {
        let Self { terminal, mut environment, variables: _, detached, ssh_agent, x11, begin } = self;
        let program = force(asked, permissions, &mut environment);
        // Programs say dumb, Emacs for one: they know no screen to come back to, and whoever logs in next would be in
        // theirs.
        let detached = detached.filter(|_| terminal.as_ref().is_some_and(|terminal| terminal.term != DUMB));
        // A session that ended meanwhile does not listen.
        let _ = begin.send(Command { program, terminal, environment, ssh_agent, x11, detached });
    }
}

/// Reads up to the request to run something, all of which is the connection's part; `None` if the client closes before.
pub(super) async fn begun(reader: &mut ChannelReadHalf, command: oneshot::Receiver<Command>) -> Option<Command> {
    loop {
        match reader.wait().await? {
            ChannelMsg::RequestShell { .. } | ChannelMsg::Exec { .. } => break,
            ChannelMsg::RequestSubsystem { name, .. } if name == SFTP => break,
            ChannelMsg::Close => return None,
            _ => {}
        }
    }
    command.await.ok()
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
        false => Program::Command(forced.clone().into()),
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
