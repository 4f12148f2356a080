//! Starts a program with the environment, the folder and the terminal that a login gets.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use pty_process::{OwnedReadPty, OwnedWritePty};
use rustix::process::Pid;
use rustix::pty::ptsname;
use rustix::termios::{InputModes, OptionalActions, tcgetattr, tcsetattr};
use tokio::io::AsyncWrite;
use tokio::process::{Child, ChildStderr, ChildStdout};

use super::super::account::{self, Account};
use super::super::hang_up::Pipes;
use super::super::open_files;
use super::super::pipe::widen;
use super::super::request::{Program, ProgramRequest, Terminal};
use super::super::scp;
use super::modes;

/// What a program's pipes hold, in bytes: twice the usual, so that neither side waits for the other while both have
/// work.
const PIPE: usize = 128 * 1024;

pub(super) struct Started {
    pub(super) child: Child,
    /// The process group that it leads.
    pub(super) group: Pid,
    pub(super) stdin: Stdin,
    pub(super) output: Output,
    pub(super) held: Held,
}

/// What tells who runs for the session's sake.
pub(super) enum Held {
    /// The terminal knows who is in its foreground.
    Terminal(OwnedFd),
    Pipes(Pipes),
}

impl Held {
    pub(super) fn pipes(&self) -> Option<&Pipes> {
        match self {
            Self::Pipes(pipes) => Some(pipes),
            Self::Terminal(_) => None,
        }
    }
}

pub(super) enum Stdin {
    Pipe(Box<dyn AsyncWrite + Send + Unpin>),
    Terminal(OwnedWritePty),
}

pub(super) enum Output {
    Pipes(ChildStdout, ChildStderr),
    Terminal(OwnedReadPty),
}

/// What is executed, and how it is called.
struct Invocation {
    path: PathBuf,
    argument_0: String,
    arguments: Vec<OsString>,
}

/// Starts what is asked for, or says in words why not.
pub(super) fn start(request: &ProgramRequest, account: &Account) -> Result<Started, String> {
    let invocation = invocation(&request.program, account)?;
    let explain = |error: io::Error| format!("failed to start {}: {error}", invocation.path.display());
    match &request.terminal {
        Some(terminal) => on_terminal(request, account, &invocation, terminal).map_err(explain),
        None => on_pipes(request, account, &invocation).map_err(explain),
    }
}

fn invocation(program: &Program, account: &Account) -> Result<Invocation, String> {
    let shell = || {
        account
            .shell
            .clone()
            .ok_or("this DevServer's image has no shell, and a command needs one; use an image that has one".to_owned())
    };
    let own = || std::env::current_exe().map_err(|error| format!("the agent's own file is gone: {error}"));
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let of_shell = |command: OsString| {
        let path = shell()?;
        Ok::<_, String>(Invocation { argument_0: name(&path), path, arguments: vec!["-c".into(), command] })
    };
    Ok(match program {
        // A login shell knows itself by the dash.
        Program::Shell => {
            let path = shell()?;
            Invocation { argument_0: format!("-{}", name(&path)), path, arguments: Vec::new() }
        }
        Program::Command(command) => match (&account.shell, scp::words(command)) {
            (None, Some(words)) => {
                let arguments = words.into_iter().skip(1).map(Into::into).collect();
                Invocation { argument_0: scp::SCP.to_owned(), path: own()?, arguments }
            }
            _ => of_shell(command.into())?,
        },
        Program::Bytes(command) => of_shell(OsString::from_vec(command.clone()))?,
        Program::Sftp => {
            let path = own()?;
            Invocation { argument_0: name(&path), path, arguments: vec!["sftp".into()] }
        }
    })
}

fn on_pipes(request: &ProgramRequest, account: &Account, invocation: &Invocation) -> io::Result<Started> {
    let mut command = tokio::process::Command::new(&invocation.path);
    command
        .arg0(&invocation.argument_0)
        .args(&invocation.arguments)
        .envs(environment(request, account))
        .current_dir(account::folder(&account.home))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(io::Error::other("no pipes"));
    };
    for pipe in [stdin.as_fd(), stdout.as_fd()] {
        widen(pipe, PIPE);
    }
    let group = group(&child)?;
    open_files::give_back(group);
    let held = Held::Pipes(Pipes::of([&stdin, &stdout, &stderr]));
    let stdin = Stdin::Pipe(Box::new(stdin));
    Ok(Started { child, group, stdin, output: Output::Pipes(stdout, stderr), held })
}

fn on_terminal(
    request: &ProgramRequest,
    account: &Account,
    invocation: &Invocation,
    terminal: &Terminal,
) -> io::Result<Started> {
    let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
    pty.resize(pty_process::Size::new(terminal.size.rows, terminal.size.columns)).map_err(io::Error::other)?;
    if let Ok(mut termios) = tcgetattr(&pty) {
        // The terminal erases whole characters, unless the client's does not.
        termios.input_modes |= InputModes::IUTF8;
        modes::set(&mut termios, &terminal.modes);
        let _ = tcsetattr(&pty, OptionalActions::Now, &termios);
    }
    let tty = ptsname(&pty, Vec::new()).ok().map(|path| ("SSH_TTY", path.to_string_lossy().into_owned()));
    let child = pty_process::Command::new(&invocation.path)
        .arg0(&invocation.argument_0)
        .args(&invocation.arguments)
        .envs(environment(request, account))
        .envs(tty)
        .current_dir(account::folder(&account.home))
        .spawn(pts)
        .map_err(io::Error::other)?;
    let group = group(&child)?;
    open_files::give_back(group);
    let held = Held::Terminal(pty.as_fd().try_clone_to_owned()?);
    let (reader, writer) = pty.into_split();
    Ok(Started { child, group, stdin: Stdin::Terminal(writer), output: Output::Terminal(reader), held })
}

fn group(child: &Child) -> io::Result<Pid> {
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    id.ok_or_else(|| io::Error::other("it ended at once"))
}

fn environment(request: &ProgramRequest, account: &Account) -> Vec<(String, String)> {
    let term = request.terminal.as_ref().map(|terminal| ("TERM".to_owned(), terminal.term.clone()));
    account.variables().into_iter().chain(request.environment.iter().cloned()).chain(term).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_shell_still_has_scp() {
        let account = Account { name: "root".into(), home: "/".into(), shell: None };
        let scp = invocation(&Program::Command("scp -t 'a b'".into()), &account).unwrap();
        assert_eq!(scp.path, std::env::current_exe().unwrap());
        assert_eq!((scp.argument_0.as_str(), &scp.arguments[..]), ("scp", &["-t", "a b"].map(OsString::from)[..]));
        assert!(invocation(&Program::Command("ls".into()), &account).is_err());
        let with_shell = Account { shell: Some("/bin/sh".into()), ..account };
        assert_eq!(invocation(&Program::Command("scp -t x".into()), &with_shell).unwrap().path, Path::new("/bin/sh"));
    }
}
