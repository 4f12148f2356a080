//! Which programs the server runs, as it tells the pod's first process: lines on its stdout. When it dies that process
//! hangs up what it can no longer. (Its terminals hang up by themselves; but that can be ignored.)

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use rustix::process::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::hang_up::{self, Pipes};

/// A program that runs, until this is dropped.
pub(super) struct Entry {
    number: u64,
}

impl Entry {
    /// Tells of the program that leads this group, on these pipes or on a terminal.
    pub(super) fn new(group: Pid, pipes: Option<&Pipes>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let group = group.as_raw_pid();
        tell(&match pipes {
            Some(pipes) => format!("+ {number} {group} {}\n", pipes.names().join(" ")),
            None => format!("+ {number} {group}\n"),
        });
        Self { number }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        tell(&format!("- {}\n", self.number));
    }
}

/// One write each, so that no line is half there. Without anybody who reads, nothing depends on it.
fn tell(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}

/// Reads what a server tells, to its end, which is the server's. Then hangs up its programs, as the end of their
/// sessions would have.
pub(super) async fn keep(told: impl AsyncRead + Unpin) {
    let mut running = HashMap::new();
    let mut lines = BufReader::new(told).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match read(&line) {
            Some(Line::Began(number, group, pipes)) => drop(running.insert(number, (group, pipes))),
            Some(Line::Ended(number)) => drop(running.remove(&number)),
            None => {}
        }
    }
    let hang_up = async |group: Pid, pipes: Option<&Pipes>| match pipes {
        Some(pipes) => hang_up::holders(group, pipes, || {}).await,
        None => hang_up::groups(&[group], || {}).await,
    };
    join_all(running.values().map(|(group, pipes)| hang_up(*group, pipes.as_ref()))).await;
}

enum Line {
    Began(u64, Pid, Option<Pipes>),
    Ended(u64),
}

fn read(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    match (words.next()?, words.next()?.parse().ok()?) {
        ("+", number) => {
            let group = Pid::from_raw(words.next()?.parse().ok()?)?;
            let pipes: Vec<_> = words.map(str::to_owned).collect();
            Some(Line::Began(number, group, (!pipes.is_empty()).then(|| Pipes::named(pipes))))
        }
        ("-", number) => Some(Line::Ended(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    use std::time::Duration;

    use tokio::process::{Child, Command};

    use super::*;

    fn program(script: &str) -> (Child, Pid, Pipes) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).kill_on_drop(true);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let group = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        let pipes =
            Pipes::of([child.stdin.as_ref().unwrap(), child.stdout.as_ref().unwrap(), child.stderr.as_ref().unwrap()]);
        (child, group, pipes)
    }

    /// Regression: they ran on, as nobody was left who knew of them.
    #[tokio::test]
    async fn a_dead_servers_programs_are_hung_up_and_nobody_elses() {
        let (mut left, group, pipes) = program("exec sleep 98600");
        let (mut over, others, other_pipes) = program("exec sleep 98601");
        let names = |pipes: &Pipes| pipes.names().join(" ");
        let told = format!(
            "+ 0 {} {}\n+ 1 {} {}\nnonsense\n- 1\n",
            group.as_raw_pid(),
            names(&pipes),
            others.as_raw_pid(),
            names(&other_pipes)
        );
        tokio::time::timeout(Duration::from_secs(60), keep(told.as_bytes())).await.unwrap();
        assert_eq!(left.wait().await.unwrap().signal(), Some(rustix::process::Signal::HUP.as_raw()));
        assert!(over.try_wait().unwrap().is_none());
    }

    /// Regression: such a program ran on, as its terminal's hang-up was all that it was told.
    #[tokio::test]
    async fn what_ignores_its_terminals_hang_up_is_told_more_firmly() {
        let (mut pty, pts) = pty_process::open().unwrap();
        let command = pty_process::Command::new("sh").args(["-c", "trap '' HUP; echo; exec sleep 98602"]);
        let mut left = command.kill_on_drop(true).spawn(pts).unwrap();
        let group = Pid::from_raw(left.id().unwrap().try_into().unwrap()).unwrap();
        tokio::io::AsyncReadExt::read_u8(&mut pty).await.unwrap();
        let told = format!("+ 0 {}\n", group.as_raw_pid());
        let ended = async { tokio::join!(keep(told.as_bytes()), left.wait()).1 };
        let status = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().unwrap();
        assert_eq!(status.signal(), Some(rustix::process::Signal::TERM.as_raw()));
    }
}
