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
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::ledger;
use super::place;
use super::startup::{self, Startup};

/// Between a server that died, or could not be started, and the next.
const PAUSE: Duration = Duration::from_millis(200);
/// What images name for their containers to be stopped with: TERM, INT, QUIT, USR1, WINCH, and systemd's RTMIN+3. Process 1
/// of a PID namespace only hears what it listens for.
const STOPS: [i32; 6] = [TERM, INT, 3, 10, 28, 37];
/// What else a command may understand: HUP and USR2.
const WORDS: [i32; 2] = [1, 12];
const TERM: i32 = Signal::TERM.as_raw();
const INT: i32 = Signal::INT.as_raw();

/// Runs until the pod is to end; returns its exit code. Without a command the pod lasts until it is told to end.
pub async fn init(command: &[OsString]) -> io::Result<i32> {
    let mut died = signal(SignalKind::child())?;
    let mut told = listen()?;
    // As process 1 of a PID namespace it is so anyhow. Elsewhere, what a session left to go on stays the pod's by this.
    let _ = set_child_subreaper(Some(getpid()));
    if let Err(error) = place::guard() {
        eprintln!("bastion-agent: its folder can be changed by others: {error}");
    }
    let mut server = Some(start_server()?);
    let mut startup = Startup::begin();
    let deadline = Instant::now() + startup::LIMIT;
    // What the owner wants to run may need what her script prepares.
    let mut main = match startup {
        Some(_) => None,
        None => start_main(command)?,
    };
    let (mut ending, mut code) = (false, 0);
    let mut start_again = Instant::now();
    loop {
        let signal = tokio::select! {
            _ = died.recv() => None,
            signal = told.recv() => signal,
            () = sleep_until(deadline), if startup.is_some() => {
                if let Some(script) = startup.take() {
                    script.took_too_long();
                    main = start_main(command)?;
                }
                None
            }
            () = sleep_until(start_again), if server.is_none() && !ending => {
                // A pod that has no room for one more process may have it in a moment; until then its command goes on.
                match start_server() {
                    Ok(started) => server = Some(started),
                    Err(error) => eprintln!("bastion-agent: failed to start the server: {error}"),
                }
                start_again = Instant::now() + PAUSE;
                None
            }
        };
        if let Some(signal) = signal {
            if let Some(main) = &main {
                let _ = kill_process(pid(main)?, Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
            }
            // What the others mean is the command's affair.
            ending |= matches!(signal, TERM | INT) || (main.is_none() && STOPS.contains(&signal));
            if ending {
                if let Some(server) = &server {
                    let _ = kill_process(pid(server)?, Signal::TERM);
                }
                if let Some(script) = &startup {
                    let _ = kill_process_group(pid(&script.child)?, Signal::TERM);
                }
            }
        }
        // Of any process group: not `waitpid(None)`, which is of this one.
        while let Ok(Some((dead, status))) = wait(WaitOptions::NOHANG) {
            if Some(dead) == main.as_ref().map(pid).transpose()? {
                let signalled = status.terminating_signal().map(|signal| 128 + signal);
                main = None;
                code = status.exit_status().or(signalled).unwrap_or(255);
                if !ending {
                    return Ok(code);
                }
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
                    start_again = Instant::now() + PAUSE;
                }
            }
        }
        if ending && main.is_none() && server.is_none() {
            return Ok(code);
        }
    }
}

/// The numbers of the signals that come.
fn listen() -> io::Result<mpsc::UnboundedReceiver<i32>> {
    let (tell, told) = mpsc::unbounded_channel();
    for number in STOPS.into_iter().chain(WORDS) {
        let mut signals = signal(SignalKind::from_raw(number))?;
        let tell = tell.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let _ = tell.send(number);
            }
        });
    }
    Ok(told)
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
