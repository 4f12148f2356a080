//! Starts a program with the environment, the folder and the terminal that a login gets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use pty_process::{OwnedReadPty, OwnedWritePty};
use rustix::process::Pid;
use rustix::termios::{InputModes, OptionalActions, tcgetattr, tcsetattr};
use tokio::io::AsyncWrite;
use tokio::process::{Child, ChildStderr, ChildStdout};

use super::super::account::Account;
use super::super::request::{ProgramRequest, Size};

pub(super) struct Started {
    pub(super) child: Child,
    /// The process group that it leads.
    pub(super) group: Pid,
    pub(super) stdin: Stdin,
    pub(super) output: Output,
    /// The terminal, if it has one: tells who runs in its foreground.
    pub(super) terminal: Option<OwnedFd>,
}

pub(super) enum Stdin {
    Pipe(Box<dyn AsyncWrite + Send + Unpin>),
    Terminal(OwnedWritePty),
}

pub(super) enum Output {
    Pipes(ChildStdout, ChildStderr),
    Terminal(OwnedReadPty),
}

/// Starts what is asked for, or says in words why not.
pub(super) fn start(request: &ProgramRequest, account: &Account) -> Result<Started, String> {
    let Some(shell) = &account.shell else {
        return Err(
            "this DevServer's image has no shell, and a command needs one; use an image that has one".to_owned()
        );
    };
    let explain = |error: io::Error| format!("failed to start {}: {error}", shell.display());
    match &request.terminal {
        Some(terminal) => on_terminal(request, account, shell, terminal.size).map_err(explain),
        None => on_pipes(request, account, shell).map_err(explain),
    }
}

fn on_pipes(request: &ProgramRequest, account: &Account, shell: &Path) -> io::Result<Started> {
    let mut command = tokio::process::Command::new(shell);
    command
        .arg0(argument_0(request, shell))
        .args(arguments(request))
        .envs(environment(request, account))
        .current_dir(folder(account))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(io::Error::other("no pipes"));
    };
    let group = group(&child)?;
    let stdin = Stdin::Pipe(Box::new(stdin));
    Ok(Started { child, group, stdin, output: Output::Pipes(stdout, stderr), terminal: None })
}

fn on_terminal(request: &ProgramRequest, account: &Account, shell: &Path, size: Size) -> io::Result<Started> {
    let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
    pty.resize(pty_process::Size::new(size.rows, size.columns)).map_err(io::Error::other)?;
    // The terminal erases whole characters, as clients that say UTF-8 expect.
    if let Ok(mut modes) = tcgetattr(&pty) {
        modes.input_modes |= InputModes::IUTF8;
        let _ = tcsetattr(&pty, OptionalActions::Now, &modes);
    }
    let child = pty_process::Command::new(shell)
        .arg0(argument_0(request, shell))
        .args(arguments(request))
        .envs(environment(request, account))
        .current_dir(folder(account))
        .spawn(pts)
        .map_err(io::Error::other)?;
    let group = group(&child)?;
    let terminal = Some(pty.as_fd().try_clone_to_owned()?);
    let (reader, writer) = pty.into_split();
    Ok(Started { child, group, stdin: Stdin::Terminal(writer), output: Output::Terminal(reader), terminal })
}

fn group(child: &Child) -> io::Result<Pid> {
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    id.ok_or_else(|| io::Error::other("it ended at once"))
}

/// A login shell knows itself by the dash.
fn argument_0(request: &ProgramRequest, shell: &Path) -> String {
    let name = shell.file_name().unwrap_or_default().to_string_lossy();
    if request.command.is_none() { format!("-{name}") } else { name.into_owned() }
}

fn arguments(request: &ProgramRequest) -> Vec<&str> {
    request.command.as_deref().map_or_else(Vec::new, |command| vec!["-c", command])
}

fn environment(request: &ProgramRequest, account: &Account) -> Vec<(String, String)> {
    let term = request.terminal.as_ref().map(|terminal| ("TERM".to_owned(), terminal.term.clone()));
    account.variables().into_iter().chain(request.environment.iter().cloned()).chain(term).collect()
}

fn folder(account: &Account) -> &Path {
    if account.home.is_dir() { &account.home } else { Path::new("/") }
}
