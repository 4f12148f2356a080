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
/// What images name for their containers to be stopped with. Process 1 of a PID namespace only hears what it listens
/// for.
const STOPS: [i32; 6] = [TERM, INT, Signal::QUIT.as_raw(), Signal::USR1.as_raw(), Signal::WINCH.as_raw(), RTMIN_3];
/// What else a command may understand.
const WORDS: [i32; 2] = [Signal::HUP.as_raw(), Signal::USR2.as_raw()];
const TERM: i32 = Signal::TERM.as_raw();
const INT: i32 = Signal::INT.as_raw();
/// systemd's. Any other command is told TERM for it, as no number beyond the named ones can be sent from here.
const RTMIN_3: i32 = 37;

/// Runs until the pod is to end; returns its exit code. Without a command the pod lasts until it is told to end.
pub async fn init(command: &[OsString]) -> io::Result<i32> {
    let mut died = signal(SignalKind::child())?;
    let mut told = listen()?;
    // As process 1 of a PID namespace it is so anyhow. Elsewhere, what a session left to go on stays the pod's by this.
    let _ = set_child_subreaper(Some(getpid()));
    if let Err(error) = place::guard() {
        eprintln!("bastion-agent: its folder can be changed by others: {error}");
    }
    let mut first = FirstProcess::begin(command)?;
    // What the owner wants to run may need what her script prepares.
    if first.startup.is_none()
        && let Some(code) = first.start_main()
    {
        return Ok(code);
    }
    let deadline = Instant::now() + startup::LIMIT;
    loop {
        tokio::select! {
            _ = died.recv() => {}
            Some(signal) = told.recv() => first.pass_on(signal)?,
            () = sleep_until(deadline), if first.startup.is_some() => {
                if let Some(code) = first.do_without_script() {
                    return Ok(code);
                }
            }
            () = sleep_until(first.start_again), if first.server.is_none() && !first.ending => first.start_server_again(),
        }
        if let Some(code) = first.bury()? {
            return Ok(code);
        }
    }
}

/// What the pod's first process has started.
struct FirstProcess<'a> {
    command: &'a [OsString],
    /// Runs `command`, unless there is none, the script is not over yet, or it has ended.
    main: Option<Child>,
    /// How `main` ended.
    code: i32,
    startup: Option<Startup>,
    server: Option<Child>,
    /// When a server is started for one that died.
    start_again: Instant,
    /// A signal came with which images are stopped, and the command may end for it.
    stopped: bool,
    ending: bool,
}

impl<'a> FirstProcess<'a> {
    fn begin(command: &'a [OsString]) -> io::Result<Self> {
        let server = Some(start_server()?);
        let startup = Startup::begin();
        let start_again = Instant::now();
        Ok(Self { command, main: None, code: 0, startup, server, start_again, stopped: false, ending: false })
    }

    /// Returns the pod's exit code if the command cannot be started, as shells have it.
    fn start_main(&mut self) -> Option<i32> {
        let (program, arguments) = self.command.split_first()?;
        match Command::new(program).args(arguments).spawn() {
            Ok(main) => {
                self.main = Some(main);
                None
            }
            Err(error) => {
                eprintln!("bastion-agent: failed to start {}: {error}", program.display());
                Some(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
            }
        }
    }

    /// The script had its time.
    fn do_without_script(&mut self) -> Option<i32> {
        self.startup.take()?.took_too_long();
        self.start_main()
    }

    fn start_server_again(&mut self) {
        // A pod that has no room for one more process may have it in a moment; until then its command goes on.
        match start_server() {
            Ok(started) => self.server = Some(started),
            Err(error) => eprintln!("bastion-agent: failed to start the server: {error}"),
        }
        self.start_again = Instant::now() + PAUSE;
    }

    /// Takes a signal by its number: for the command, and for all if it says that the pod is to end.
    fn pass_on(&mut self, signal: i32) -> io::Result<()> {
        if let Some(main) = &self.main {
            let _ = kill_process(pid(main)?, Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
        }
        // What the others mean is the command's affair.
        self.stopped |= STOPS.contains(&signal);
        if self.ending || matches!(signal, TERM | INT) || (self.main.is_none() && self.stopped) {
            self.end()?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.ending = true;
        if let Some(server) = &self.server {
            let _ = kill_process(pid(server)?, Signal::TERM);
        }
        if let Some(script) = &self.startup {
            let _ = kill_process_group(pid(&script.child)?, Signal::TERM);
        }
        Ok(())
    }

    /// Buries who died, orphans too. Returns the pod's exit code once it is over.
    fn bury(&mut self) -> io::Result<Option<i32>> {
        // Of any process group: not `waitpid(None)`, which is of this one.
        while let Ok(Some((dead, status))) = wait(WaitOptions::NOHANG) {
            let is_dead = |child: &mut Child| pid(child).is_ok_and(|pid| pid == dead);
            if self.main.take_if(is_dead).is_some() {
                let signalled = status.terminating_signal().map(|signal| 128 + signal);
                self.code = status.exit_status().or(signalled).unwrap_or(255);
                if !self.ending {
                    if !self.stopped {
                        return Ok(Some(self.code));
                    }
                    // Sessions hear of it as they do where the signal means nothing else.
                    self.end()?;
                }
            }
            if let Some(script) = self.startup.take_if(|script| is_dead(&mut script.child)) {
                script.ended(ExitStatus::from_raw(status.as_raw()));
                if !self.ending
                    && let Some(code) = self.start_main()
                {
                    return Ok(Some(code));
                }
            }
            if self.server.take_if(is_dead).is_some() && !self.ending {
                eprintln!("bastion-agent: the server ended ({status:?}); starting it again");
                self.start_again = Instant::now() + PAUSE;
            }
        }
        Ok((self.ending && self.main.is_none() && self.server.is_none()).then_some(self.code))
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
