//! Which programs run on pipes of the server's, as it tells the pod's first process: lines on its stdout. When it dies
//! that process hangs up what it can no longer. (Terminals need none of this: a dead server's hang up by themselves.)

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use rustix::process::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::program::{Pipes, hang_up_holders};

/// A program that runs, until this is dropped.
pub(super) struct Entry {
    number: u64,
}

impl Entry {
    /// Tells of the program that leads this group.
    pub(super) fn new(group: Pid, pipes: &Pipes) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        tell(&format!("+ {number} {} {}\n", group.as_raw_pid(), pipes.names().join(" ")));
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
    join_all(running.values().map(|(group, pipes)| hang_up_holders(*group, pipes, || {}))).await;
}

enum Line {
    Began(u64, Pid, Pipes),
    Ended(u64),
}

fn read(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    match (words.next()?, words.next()?.parse().ok()?) {
        ("+", number) => {
            let group = Pid::from_raw(words.next()?.parse().ok()?)?;
            Some(Line::Began(number, group, Pipes::named(words.map(str::to_owned).collect())))
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

    /// They ran on: nobody was left who knew of them.
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
}
