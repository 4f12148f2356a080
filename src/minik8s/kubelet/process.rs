//! Local processes: each belongs to a container by a mark in its environment, which its children inherit however they
//! detach themselves; so all of a container, a pod or the cluster can be found and ended, also after a crash.

use parking_lot::Mutex;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper, waitpid,
};
use std::{
    collections::HashSet,
    fs, io,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

/// `MINIK8S=CLUSTER/POD UID/CONTAINER`
pub(super) const MARK: &str = "MINIK8S";

/// How long to go on killing what does not die.
const PATIENCE: Duration = Duration::from_secs(5);
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// Processes that somebody in this program waits for.
static AWAITED: Mutex<Option<HashSet<i32>>> = Mutex::new(None);

/// A child that is waited for here and nowhere else.
#[derive(Debug)]
pub(crate) struct Process {
    child: tokio::process::Child,
    pid: Pid,
}

impl Process {
    pub(super) fn spawn(spawn: impl FnOnce() -> io::Result<tokio::process::Child>) -> io::Result<Process> {
        let mut awaited = AWAITED.lock();
        let child = spawn()?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .ok_or_else(|| io::Error::other("the process was gone before it was seen"))?;
        awaited.get_or_insert_default().insert(pid.as_raw_pid());
        Ok(Process { child, pid })
    }

    /// The exit code, as a container's: 128 and the signal for one that was killed. Cancel safe.
    pub(crate) async fn wait(&mut self) -> i32 {
        self.child.wait().await.map_or(255, exit_code)
    }

    /// Signals its process group.
    pub(super) fn signal(&self, signal: Signal) {
        if self.child.id().is_some() {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    pub(super) fn child(&mut self) -> &mut tokio::process::Child {
        &mut self.child
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pids) = AWAITED.lock().as_mut() {
            pids.remove(&self.pid.as_raw_pid());
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Makes orphans of our processes our children, and buries them for as long as it runs.
pub(super) async fn reap() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot adopt orphans");
    }
    let Ok(mut died) = signal(SignalKind::child()) else {
        return;
    };
    while died.recv().await.is_some() {
        let _ = tokio::task::spawn_blocking(bury_orphans).await;
        tokio::time::sleep(REAP_INTERVAL).await;
    }
}

/// Orphans are told from children that others wait for by their session: ours all lead or inherit one of their own.
fn bury_orphans() {
    let awaited = AWAITED.lock();
    let Some(me) = read(getpid()) else {
        return;
    };
    for process in processes() {
        let known = awaited.as_ref().is_some_and(|pids| pids.contains(&process.pid.as_raw_pid()));
        if process.zombie && process.parent == me.pid.as_raw_pid() && process.session != me.session && !known {
            let _ = waitpid(Some(process.pid), WaitOptions::NOHANG);
        }
    }
}

/// Asks everything under the mark to end, gives it that long, then kills. `orphans`: also what was adopted and has lost
/// its mark.
pub(super) async fn end_all(mark: String, grace: Duration, orphans: bool) {
    let end = move || {
        let deadline = Instant::now() + grace;
        if !grace.is_zero() {
            signal_all(&mark, orphans, &[Signal::TERM, Signal::HUP, Signal::CONT]);
        }
        let patience = deadline + PATIENCE;
        loop {
            let late = Instant::now() >= deadline;
            let signals: &[Signal] = if late { &[Signal::KILL] } else { &[] };
            let left = signal_all(&mark, orphans, signals);
            if left == 0 {
                return;
            }
            if Instant::now() > patience {
                tracing::error!(left, mark, "processes cannot be killed");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    if let Err(error) = tokio::task::spawn_blocking(end).await {
        tracing::error!(error = &error as &dyn std::error::Error, "processes may be left behind");
    }
}

fn signal_all(mark: &str, orphans: bool, signals: &[Signal]) -> usize {
    let found = marked(mark, orphans);
    for process in &found {
        // By a descriptor, checked after it is open: the number may be another process's by now.
        if let Ok(descriptor) = pidfd_open(process.pid, PidfdFlags::empty())
            && read(process.pid).is_some_and(|now| now.started == process.started)
        {
            for &signal in signals {
                let _ = pidfd_send_signal(&descriptor, signal);
            }
        }
    }
    found.len()
}

/// The living processes whose environment carries the mark, and their descendants.
fn marked(mark: &str, orphans: bool) -> Vec<Entry> {
    // From /proc, as those that it is compared with: a session led from outside of our PID namespace is 0, which
    // getsid(2) cannot say.
    let (me, session) = (getpid().as_raw_pid(), read(getpid()).map_or(0, |me| me.session));
    let (mut found, mut others): (Vec<Entry>, Vec<Entry>) =
        processes().into_iter().filter(|process| !process.zombie && process.pid.as_raw_pid() != me).partition(
            |process| has_mark(process.pid, mark) || orphans && process.parent == me && process.session != session,
        );
    loop {
        let (more, rest): (Vec<Entry>, Vec<Entry>) = others
            .into_iter()
            .partition(|process| found.iter().any(|parent| parent.pid.as_raw_pid() == process.parent));
        if more.is_empty() {
            return found;
        }
        found.extend(more);
        others = rest;
    }
}

fn has_mark(pid: Pid, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).is_ok_and(|environment| {
        environment.split(|&byte| byte == 0).any(|variable| match variable.strip_prefix(wanted.as_bytes()) {
            Some(rest) => rest.is_empty() || rest[0] == b'/',
            None => false,
        })
    })
}

struct Entry {
    pid: Pid,
    parent: i32,
    session: i32,
    zombie: bool,
    started: u64,
}

fn processes() -> Vec<Entry> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            read(Pid::from_raw(pid)?)
        })
        .collect()
}

fn read(pid: Pid) -> Option<Entry> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name stands in parentheses and may hold anything, also parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Entry {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        started: fields.get(19)?.parse().ok()?,
    })
}
