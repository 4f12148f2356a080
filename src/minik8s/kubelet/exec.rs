//! Processes that are started in a running container from outside.

use super::{
    process::Process,
    sandbox::{Sandbox, StartError},
};
use std::process::Stdio;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

pub(crate) struct ExecRequest {
    pub(crate) command: Vec<String>,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

pub(crate) struct Exec {
    pub(crate) process: Process,
    pub(crate) stdio: ExecStdio,
}

pub(crate) enum ExecStdio {
    Pipes { stdin: Option<ChildStdin>, stdout: Option<ChildStdout>, stderr: Option<ChildStderr> },
    Terminal(pty_process::Pty),
}

/// What containerd's buffers and pipes hold between a client and a program that does not read.
const STDIN_BUFFER: usize = 128 << 10;

pub(super) fn start(sandbox: &Sandbox, container: &str, request: &ExecRequest) -> Result<Exec, StartError> {
    let container = sandbox.container(container).ok_or(StartError::Closed)?;
    let launch = sandbox.launch(container, &request.command)?;
    if request.tty {
        let (pty, pts) = pty_process::open().map_err(std::io::Error::other)?;
        let process = sandbox.start(|| {
            let command = launch.terminal_command();
            command.spawn(pts).map_err(std::io::Error::other)
        })?;
        let stdio = ExecStdio::Terminal(pty);
        return Ok(Exec { process, stdio });
    }

    let piped = |wanted| {
        if wanted { Stdio::piped() } else { Stdio::null() }
    };
    let mut command = launch.command();
    command.stdin(piped(request.stdin)).stdout(piped(request.stdout)).stderr(piped(request.stderr));
    let mut process = sandbox.start(|| tokio::process::Command::from(command).spawn())?;
    let child = process.child();
    let stdio =
        ExecStdio::Pipes { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() };
    if let ExecStdio::Pipes { stdin: Some(stdin), .. } = &stdio {
        // Refused above the user's limit for pipes; then it holds the usual 64 KiB.
        let _ = rustix::pipe::fcntl_setpipe_size(stdin, STDIN_BUFFER);
    }
    Ok(Exec { process, stdio })
}
