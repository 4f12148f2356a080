//! `bastion-agent run`: the pod's first process. Starts the server and the pod's own command, buries orphans, passes
//! signals on, and hangs up what a server that died has left.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait};
use tokio::process::ChildStdout;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::ledger;
use super::startup::{self, Startup};

/// Between a server that died and the next.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs until the pod is to end; returns its exit code. Without a command the pod lasts until it is told to end.
pub async fn init(command: &[OsString]) -> io::Result<i32> {
    let mut died = signal(SignalKind::child())?;
    let mut ended = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    // As process 1 of a PID namespace it is so anyhow. Elsewhere, what a session left to go on stays the pod's by this.
    let _ = set_child_subreaper(Some(getpid()));
    let mut server = Some(start_server()?);
    let mut startup = Startup::begin();
    let deadline = Instant::now() + startup::LIMIT;
    // What the owner wants to run may need what her script prepares.
    let mut main = match startup {
        Some(_) => None,
        None => start_main(command)?,
    };
    let mut ending = false;
    loop {
        let signal = tokio::select! {
            _ = died.recv() => None,
            _ = ended.recv() => Some(Signal::TERM),
            _ = interrupted.recv() => Some(Signal::INT),
            () = sleep_until(deadline), if startup.is_some() => {
                if let Some(script) = startup.take() {
                    script.took_too_long();
                    main = start_main(command)?;
                }
                None
            }
        };
        if let Some(signal) = signal {
            ending = true;
            for child in [&server, &main].into_iter().flatten() {
                let _ = kill_process(pid(child)?, signal);
            }
            if let Some(script) = &startup {
                let _ = kill_process_group(pid(&script.child)?, signal);
            }
        }
        // Of any process group: not `waitpid(None)`, which is of this one.
        while let Ok(Some((dead, status))) = wait(WaitOptions::NOHANG) {
            if Some(dead) == main.as_ref().map(pid).transpose()? {
                let signalled = status.terminating_signal().map(|signal| 128 + signal);
                return Ok(status.exit_status().or(signalled).unwrap_or(255));
            }
            if let Some(script) = startup.take_if(|script| pid(&script.child).is_ok_and(|pid| pid == dead)) {
                script.ended(ExitStatus::from_raw(status.as_raw()));
                if !ending {
                    main = start_main(command)?;
                }
            }
            if Some(dead) == server.as_ref().map(pid).transpose()? {
                server = None;
                if !ending {
                    eprintln!("bastion-agent: the server ended ({status:?}); starting it again");
                    tokio::time::sleep(PAUSE).await;
                    server = Some(start_server()?);
                }
            }
        }
        if ending && main.is_none() && server.is_none() {
            return Ok(0);
        }
    }
}

fn start_main(command: &[OsString]) -> io::Result<Option<Child>> {
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    Command::new(program).args(arguments).spawn().map(Some)
}

fn start_server() -> io::Result<Child> {
    let mut server = Command::new(std::env::current_exe()?).arg("serve").stdout(Stdio::piped()).spawn()?;
    if let Some(told) = server.stdout.take() {
        tokio::spawn(ledger::keep(ChildStdout::from_std(told)?));
    }
    Ok(server)
}

fn pid(child: &Child) -> io::Result<Pid> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::other("a process without a number"))
}
