//! `bastion-agent run`, as a container starts and stops it.

use std::io;
use std::path::Path;
use std::process::Stdio;

use bastion::carrier::{self, Carrier, Keepalive, Link, LinkEvent, Side};
use bytes::Bytes;
use futures::sink;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::io::ReaderStream;

use crate::harness::{LIMIT, eventually, within};

/// The agent in a folder of its own, as a pod's first process.
struct First {
    child: Child,
    /// It and all that it began: here nobody else ends what a first process leaves behind.
    group: Pid,
    lines: Lines<BufReader<ChildStdout>>,
}

impl First {
    async fn starts(folder: &Path, command: &[&str]) -> Self {
        let socket = folder.join("agent.sock");
        let _ = std::fs::remove_file(&socket); // That of the one before.
        let mut child = Command::new(folder.join("bastion-agent"))
            .args(["run", "--"])
            .args(command)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the agent was installed");
        let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        eventually("the agent listens", async || socket.exists().then_some(())).await;
        Self { child, group, lines }
    }

    async fn prints(&mut self, line: &str) {
        let printed = within(LIMIT, "a line", self.lines.next_line()).await.expect("it can be read");
        assert_eq!(printed.as_deref(), Some(line));
    }

    fn is_told(&self, signal: Signal) {
        kill_process(self.group, signal).expect("it runs");
    }

    async fn ends(mut self) -> Option<i32> {
        within(LIMIT, "its end", self.child.wait()).await.expect("it is our child").code()
    }
}

impl Drop for First {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

async fn installed() -> TempDir {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let installed = Command::new(env!("CARGO_BIN_EXE_bastion-agent")).arg("install").arg(folder.path()).status().await;
    assert!(installed.expect("the agent was built").success());
    folder
}

/// Regression: the command heard of TERM and INT only, and never of the STOPSIGNAL of most servers' images.
#[tokio::test]
async fn the_pods_command_hears_what_the_container_is_told() {
    let folder = installed().await;
    let signals = [("HUP", Signal::HUP), ("USR1", Signal::USR1), ("USR2", Signal::USR2), ("WINCH", Signal::WINCH)];
    let traps: String = signals.iter().map(|(name, _)| format!("trap 'echo {name}' {name}; ")).collect();
    let script = format!("{traps} trap 'echo over; exit 7' QUIT; echo up; while :; do sleep 0.05; done");
    let mut first = First::starts(folder.path(), &["sh", "-c", &script]).await;
    first.prints("up").await;
    for (name, signal) in signals {
        first.is_told(signal);
        first.prints(name).await;
    }
    first.is_told(Signal::QUIT);
    first.prints("over").await;
    assert_eq!(first.ends().await, Some(7));
}

#[tokio::test]
async fn a_pod_without_a_command_ends_by_what_images_are_stopped_with() {
    let folder = installed().await;
    for stop in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::USR1, Signal::WINCH] {
        let first = First::starts(folder.path(), &[]).await;
        first.is_told(Signal::HUP);
        first.is_told(stop);
        assert_eq!(first.ends().await, Some(0), "{stop:?}");
    }
}

/// Its sessions' commands are given a moment, and that is not what the pod's own command ended with.
#[tokio::test]
async fn a_pod_that_is_stopped_ends_with_the_code_of_its_command() {
    let folder = installed().await;
    let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done";
    let mut first = First::starts(folder.path(), &["sh", "-c", script]).await;
    first.prints("up").await;
    first.is_told(Signal::TERM);
    assert_eq!(first.ends().await, Some(7));
}

/// Nobody knew whether what was asked of it at that moment had begun.
#[tokio::test]
async fn an_agent_that_is_stopped_says_what_it_does_not_take_any_more() {
    let folder = installed().await;
    let first = First::starts(folder.path(), &[]).await;
    says_that_it_ends(&folder, &first, Signal::TERM).await;
    assert_eq!(first.ends().await, Some(0));
    // The command ends by it, and the sessions heard nothing.
    let script = "trap 'exit 7' QUIT; echo up; while :; do sleep 0.05; done";
    let mut first = First::starts(folder.path(), &["sh", "-c", script]).await;
    first.prints("up").await;
    says_that_it_ends(&folder, &first, Signal::QUIT).await;
    assert_eq!(first.ends().await, Some(7));
}

async fn says_that_it_ends(folder: &TempDir, first: &First, stop: Signal) {
    let mut connect = Command::new(folder.path().join("bastion-agent"));
    connect.arg("connect").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut connect = connect.spawn().expect("the agent was installed");
    let source = ReaderStream::new(connect.stdout.take().expect("it is piped"));
    let sink = sink::unfold(connect.stdin.take().expect("it is piped"), |mut stdin, bytes: Bytes| async move {
        stdin.write_all(&bytes).await?;
        Ok::<_, io::Error>(stdin)
    });
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".to_owned());
    let keepalive = Keepalive { ping: LIMIT, patience: 3, grace: LIMIT };
    let link = Link { source, sink: Box::pin(sink) };
    let linked = carrier.link(link, keepalive, |news| {
        if news == LinkEvent::Linked {
            first.is_told(stop);
        }
    });
    let ended = within(LIMIT, "the end of the link", linked).await;
    assert!(matches!(ended, Err(carrier::Error::Left)), "{ended:?}");
}
