//! Ends what a session leaves behind, with growing firmness.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::fstat;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use rustix::termios::tcgetpgrp;
use tokio::process::Child;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// What a program that was hung up may do before it is told more firmly.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Processes that are looked at before others have their turn.
const AT_ONCE: usize = 32;
const ROUNDS: [&[Signal]; 3] = [&[Signal::HUP, Signal::CONT], &[Signal::TERM], &[Signal::KILL]];

/// The pipes that a session without a terminal gave its program, as `/proc/PID/fd` has them.
pub(super) struct Pipes(Vec<String>);

impl Pipes {
    pub(super) fn of(ends: [&dyn AsFd; 3]) -> Self {
        let name = |end: &dyn AsFd| fstat(end.as_fd()).map(|stat| format!("pipe:[{}]", stat.st_ino)).ok();
        Self(ends.into_iter().filter_map(name).collect())
    }

    /// Those that [`Pipes::names`] told of.
    pub(super) fn named(names: Vec<String>) -> Self {
        Self(names)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    fn are_held_by(&self, process: &str) -> bool {
        let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
        let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| self.0.iter().any(|pipe| target.as_os_str() == pipe.as_str()))
    }
}

/// Ends the group that had this terminal, and the one in its foreground, which has a group of its own.
pub(super) async fn terminal(mut child: Child, group: Pid, terminal: impl AsFd) {
    let all: Vec<Pid> = tcgetpgrp(&terminal).into_iter().chain([group]).collect();
    drop(terminal);
    groups(&all, || drop(child.try_wait())).await;
}

/// Ends all who are in these groups, but for those that nohup(1) keeps from that. `bury` buries the dead among them,
/// which else stay in them.
pub(super) async fn groups(groups: &[Pid], mut bury: impl FnMut()) {
    for signals in ROUNDS {
        let (mut some_kept, mut some_doomed) = (false, false);
        for &group in groups {
            let (kept, doomed): (Vec<_>, Vec<_>) =
                members(group).await.into_iter().partition(|(_, name)| is_kept(name));
            for &signal in signals {
                if kept.is_empty() {
                    let _ = kill_process_group(group, signal);
                }
                for &(process, _) in doomed.iter().filter(|_| !kept.is_empty()) {
                    let _ = kill_process(process, signal);
                }
            }
            some_kept |= !kept.is_empty();
            some_doomed |= !doomed.is_empty();
        }
        if some_kept && !some_doomed {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            bury();
            if groups.iter().all(|&group| test_kill_process_group(group).is_err()) {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Ends who is in this group for the session's sake. Who let go of its pipes, as an editor's server does, goes on, and
/// who ignores hang-ups, as nohup(1) arranges: sshd ends neither. `bury` buries the dead of the group, which else stay
/// in it.
pub(super) async fn holders(group: Pid, pipes: &Pipes, mut bury: impl FnMut()) {
    for signals in ROUNDS {
        let mut found = members(group).await;
        keep_held(&mut found, group, pipes);
        for &(process, _) in &found {
            for &signal in signals {
                let _ = kill_process(process, signal);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let mut pause = LOOK_AGAIN;
        while Instant::now() < deadline {
            bury();
            if test_kill_process_group(group).is_err() {
                return;
            }
            keep_held(&mut found, group, pipes);
            // Whom they have started since is looked for only once they are gone.
            if found.is_empty() {
                found = members(group).await;
                keep_held(&mut found, group, pipes);
                if found.is_empty() {
                    return;
                }
            }
            sleep(pause).await;
            pause *= 2;
        }
    }
}

/// Sends a signal to those who are in this group for the session's sake. Once its leader is buried, and nobody is left
/// in it, another session's may have its number.
pub(super) async fn signal_holders(group: Pid, pipes: &Pipes, signal: Signal) {
    let mut found = members(group).await;
    found.retain(|(_, name)| pipes.are_held_by(name));
    for (process, _) in found {
        let _ = kill_process(process, signal);
    }
}

/// Who of these is still in the group, for the session's sake.
fn keep_held(found: &mut Vec<(Pid, String)>, group: Pid, pipes: &Pipes) {
    found.retain(|(_, name)| is_in(group, name) && pipes.are_held_by(name) && !asked_for_none(name));
}

/// Who is in this group, with its name in `/proc`.
async fn members(group: Pid) -> Vec<(Pid, String)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for (at, entry) in processes.flatten().enumerate() {
        // A pod may have thousands, and somebody types meanwhile.
        if at % AT_ONCE == AT_ONCE - 1 {
            yield_now().await;
        }
        let Ok(name) = entry.file_name().into_string() else { continue };
        let process = name.parse().ok().and_then(Pid::from_raw);
        found.extend(process.filter(|_| is_in(group, &name)).map(|process| (process, name)));
    }
    found
}

/// Whether it is as nohup(1) begins a program on a terminal: it ignores hang-ups, and has let go of the terminal.
fn is_kept(process: &str) -> bool {
    asked_for_none(process) && !holds_terminal(process)
}

/// Whether it ignores hang-ups of its own accord, and not because the agent does.
fn asked_for_none(process: &str) -> bool {
    ignores_hang_ups(process) && !ignores_hang_ups("self")
}

fn holds_terminal(process: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| target.starts_with("/dev/pts"))
}

/// proc_pid_stat(5): after the name in parentheses come the state, the parent and the group.
fn is_in(group: Pid, process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let field = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(2));
    field.and_then(|field| field.parse().ok()).and_then(Pid::from_raw) == Some(group)
}

fn ignores_hang_ups(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & 1 << (Signal::HUP.as_raw() - 1) != 0
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use rustix::process::getpid;
    use tokio::process::Command;

    use super::*;

    #[tokio::test]
    async fn whoever_let_go_or_ignores_hang_ups_goes_on() {
        let script = "sleep 98100.1 </dev/null >/dev/null 2>&1 & nohup sleep 98100.2 2>/dev/null & sleep 98100.3 & \
                      echo $$; sleep 98100.4";
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, mut stdout, stderr) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let pipes = Pipes::of([&stdin, &stdout, &stderr]);
        let group = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        tokio::io::AsyncReadExt::read_u8(&mut stdout).await.unwrap();
        // nohup becomes the program by then.
        while running(group).len() < 4 {
            sleep(LOOK_AGAIN).await;
        }
        holders(group, &pipes, || drop(child.try_wait())).await;
        assert_eq!(running(group), ["98100.1", "98100.2"]);
        kill_process_group(group, Signal::KILL).unwrap();
    }

    /// Regression: a job's work was lost with the window, although nohup(1) was there for just that.
    #[tokio::test]
    async fn a_job_under_nohup_outlives_its_terminal_and_what_only_ignores_hang_ups_does_not() {
        let (pty, pts) = pty_process::open().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let script = "trap '' HUP; sleep 98101.1 & nohup sleep 98101.2 & wait";
        let command = pty_process::Command::new("sh").args(["-c", script]).current_dir(folder.path());
        let child = command.spawn(pts).unwrap();
        let group = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        let became = async || {
            ["98101.1", "98101.2"] == *running(group) && members(group).await.iter().any(|(_, name)| is_kept(name))
        };
        while !became().await {
            sleep(LOOK_AGAIN).await;
        }
        terminal(child, group, pty).await;
        assert_eq!(running(group), ["98101.2"]);
        kill_process_group(group, Signal::KILL).unwrap();
    }

    /// Whoever typed in the pod stood still for as long as it took to look at all that runs there.
    #[tokio::test]
    async fn others_have_their_turn_while_processes_are_looked_at() {
        let children: Vec<_> =
            (0..2 * AT_ONCE).map(|_| Command::new("sleep").arg("98102").kill_on_drop(true).spawn().unwrap()).collect();
        let mut turns = 0;
        let others = async {
            while turns < 1000 {
                turns += 1;
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = others => {}
            found = members(getpid()) => drop(found),
        }
        assert!(turns > 2, "{turns}");
        drop(children);
    }

    /// Its number may be another session's by then.
    #[tokio::test]
    async fn a_signal_reaches_only_those_who_hold_the_sessions_pipes() {
        let mut command = Command::new("sleep");
        command.arg("98103").process_group(0).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let (mut child, other) = (command.spawn().unwrap(), command.spawn().unwrap());
        let group = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        let ends = |child: &Child| {
            let (stdin, stdout) = (child.stdin.as_ref().unwrap(), child.stdout.as_ref().unwrap());
            Pipes::of([stdin, stdout, stdout])
        };
        signal_holders(group, &ends(&other), Signal::KILL).await;
        assert!(child.try_wait().unwrap().is_none());
        let pipes = ends(&child);
        signal_holders(group, &pipes, Signal::TERM).await;
        let status = child.wait().await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::TERM.as_raw()));
    }

    /// How long those in the group sleep.
    fn running(group: Pid) -> Vec<String> {
        let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let lines = names.filter(|name| is_in(group, name)).map(|name| fs::read(format!("/proc/{name}/cmdline")));
        let lines = lines.map(|line| String::from_utf8(line.unwrap_or_default()).unwrap());
        let mut times: Vec<_> = lines.filter_map(|line| Some(line.strip_prefix("sleep\0")?.to_owned())).collect();
        times.iter_mut().for_each(|time| time.truncate(7));
        times.sort();
        times
    }
}
