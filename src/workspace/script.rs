//! The shell scripts that stand in for an sshd in the pod, and what they are called with.

use std::sync::LazyLock;

use rand::RngExt;

use super::{Command, Error, Program};

static RUN: LazyLock<String> = LazyLock::new(|| without_comments(include_str!("run.sh")));
static HANGUP: LazyLock<String> = LazyLock::new(|| without_comments(include_str!("hangup.sh")));

/// Linux takes no longer argument (MAX_ARG_STRLEN), and the pod's shell gets the command as one.
const MAX_COMMAND: usize = 128 * 1024 - 1;
/// A request's URI has at most 64 KiB, and a byte may take three of them; longer commands go through stdin.
const MAX_ARGUMENTS: usize = 16 * 1024;

/// A call of run.sh.
pub(super) struct Run {
    /// Begins run.sh's first line and is its last on stderr; nobody can guess it.
    pub(super) nonce: String,
    pub(super) argv: Vec<String>,
    /// What run.sh reads from stdin before the program does.
    pub(super) preamble: Option<Vec<u8>>,
}

/// The shell that run.sh is, or was, in the pod.
#[derive(Debug)]
pub(super) enum Shell {
    /// It is process `pid`, which began at `born`.
    Heard { pid: String, born: String },
    /// It has not told, or not begun.
    Unheard { nonce: String },
}

/// The status of hangup.sh where there is no such shell (yet).
pub(super) const NO_SUCH_SHELL: u32 = 3;

/// The call that runs `command`.
pub(super) fn run(command: &Command) -> Result<Run, Error> {
    if matches!(command.program, Program::Sftp | Program::Shells(_)) {
        return Err(Error::NoAgent);
    }
    let nonce = format!("bastion-{:032x}", rand::rng().random::<u128>());
    let (mode, rows, columns) = match &command.terminal {
        Some(terminal) => ("tty", terminal.size.rows, terminal.size.columns),
        None => ("pipe", 0, 0),
    };
    let mut argv: Vec<String> = ["sh", "-c", &RUN, "bastion", &nonce, mode].map(str::to_owned).into();
    argv.extend([rows.to_string(), columns.to_string()]);
    if let Some(terminal) = &command.terminal {
        argv.push(format!("TERM={}", terminal.term));
    }
    // SSH_ORIGINAL_COMMAND is as long as its client likes.
    if command.environment.iter().any(|(_, value)| value.len() > MAX_ARGUMENTS) {
        return Err(Error::CommandTooLong);
    }
    argv.extend(command.environment.iter().map(|(name, value)| format!("{name}={value}")));
    argv.push("--".to_owned());
    let mut preamble = None;
    if let Program::Command(text) = &command.program {
        // An argument of an exec has to be UTF-8.
        match std::str::from_utf8(text) {
            Ok(text) if text.len() <= MAX_ARGUMENTS && text != "-" => argv.push(text.to_owned()),
            _ if text.len() > MAX_COMMAND => return Err(Error::CommandTooLong),
            Ok(_) if command.terminal.is_some() => return Err(Error::CommandTooLong),
            Err(_) if command.terminal.is_some() => return Err(Error::CommandNotText),
            _ => {
                argv.push("-".to_owned());
                preamble = Some([&text[..], b"\n", nonce.as_bytes(), b"\n"].concat());
            }
        }
    }
    Ok(Run { nonce, argv, preamble })
}

/// The call that ends the session of `shell`.
pub(super) fn hangup(shell: &Shell) -> Vec<&str> {
    let mut argv = vec!["sh", "-c", &HANGUP, "bastion"];
    match shell {
        Shell::Heard { pid, born } => argv.extend([pid.as_str(), born]),
        Shell::Unheard { nonce } => argv.push(nonce),
    }
    argv
}

/// They travel with each exec and show in the pod's `ps`.
fn without_comments(script: &str) -> String {
    script.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Terminal, TerminalSize};
    use super::*;

    fn command(program: Program, terminal: Option<Terminal>) -> Command {
        let environment = vec![("LANG".into(), "C".into())];
        Command { program, terminal, environment, ssh_agent: false, x11: None, detached: None }
    }

    #[test]
    fn a_short_command_is_an_argument() {
        let run = run(&command(Program::Command("ls -l".into()), None)).unwrap();
        assert_eq!(run.argv[5..], ["pipe", "0", "0", "LANG=C", "--", "ls -l"]);
        assert!(run.preamble.is_none());
    }

    #[test]
    fn a_long_command_goes_through_stdin() {
        let text = "#".repeat(100 * 1024).into_bytes();
        let run = run(&command(Program::Command(text.clone().into()), None)).unwrap();
        assert_eq!(run.argv.last().unwrap(), "-");
        assert_eq!(run.preamble.unwrap(), [&text[..], b"\n", run.nonce.as_bytes(), b"\n"].concat());
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        let terminal = Terminal { term: "xterm".into(), size: TerminalSize { columns: 80, rows: 24 }, modes: vec![] };
        let long = |n| Program::Command("#".repeat(n).into());
        assert!(matches!(run(&command(long(128 * 1024), None)), Err(Error::CommandTooLong)));
        assert!(matches!(run(&command(long(17 * 1024), Some(terminal.clone()))), Err(Error::CommandTooLong)));
        let latin1 = Program::Command(b"echo caf\xe9"[..].into());
        assert!(matches!(run(&command(latin1, Some(terminal))), Err(Error::CommandNotText)));
        let mut forced = command(Program::Command("date".into()), None);
        forced.environment.push(("SSH_ORIGINAL_COMMAND".into(), "#".repeat(17 * 1024)));
        assert!(matches!(run(&forced), Err(Error::CommandTooLong)));
    }
}
