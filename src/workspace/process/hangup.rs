//! What a session leaves behind in its pod is ended.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::super::exec::{self, ANSWERED, Frame};
use super::super::script::{self, NO_SUCH_SHELL, Shell};
use super::super::{Error, Workspace};
use super::{closed, request};
use crate::telemetry::chain;

/// Before each try, in seconds.
const PATIENCE: [u64; 5] = [0, 1, 5, 15, 60];
/// What programs have to end once they are told to, and more.
const ENDS: Duration = Duration::from_secs(10);

/// An exec'd program survives its connection: hangs up the process group that `shell` leads. One that was not heard of
/// may yet begin, so it is looked for as often as a node is asked that does not answer.
pub(super) async fn hang_up(client: &kube::Client, workspace: Workspace, shell: &Shell) {
    let pauses = PATIENCE.map(Duration::from_secs);
    try_to_hang_up(client, workspace, shell, &pauses, ANSWERED + ENDS).await;
}

/// Tries after each of `pauses`, for as long as `limit`.
async fn try_to_hang_up(
    client: &kube::Client,
    mut workspace: Workspace,
    shell: &Shell,
    pauses: &[Duration],
    limit: Duration,
) {
    let command = script::hangup(shell);
    let mut is_there = true;
    for pause in pauses {
        tokio::time::sleep(*pause).await;
        let mut ended = end(client, &workspace, &command, limit).await;
        // What a guest ran whom the pod is no longer shared with: her own right to enter it went with the share.
        if let (Err(Error::Refused { code: 403, .. }), Some(by_owner)) = (&ended, workspace.by_owner()) {
            workspace = by_owner;
            ended = end(client, &workspace, &command, limit).await;
        }
        is_there = !matches!(ended, Ok(NO_SUCH_SHELL));
        match ended {
            Ok(NO_SUCH_SHELL) => {}
            Ok(_) => return,
            // Its pod, its namespace or its account is gone, and it went with them.
            Err(error) if error.pod_is_gone() || !error.is_outage() => {
                return debug!(error = chain(&error), ?shell, "nothing to hang up");
            }
            Err(error) => debug!(error = chain(&error), ?shell, "failed to hang up; trying again"),
        }
    }
    if is_there {
        let Workspace { pod, namespace, .. } = &workspace;
        warn!(pod, namespace, ?shell, "may have left a process in the pod: could not hang it up");
    }
}

/// Returns the script's status.
async fn end(client: &kube::Client, workspace: &Workspace, command: &[&str], limit: Duration) -> Result<u32, Error> {
    let end = async {
        let mut stream = exec::open(client, &request(workspace, command, false, false)).await?;
        while let Some(message) = stream.next().await {
            let message = message.map_err(|error| Error::Lost(Box::new(error)))?;
            if let Frame::Status(status) = Frame::parse(message)? {
                return exec::exit_code(&status);
            }
        }
        Err(closed())
    };
    timeout(limit, end).await.unwrap_or_else(|_| Err(Error::Lost("the exec was not answered".into())))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::process::{Child, Command as Program};

    use super::super::{Command, Program as Asked, Terminal, TerminalSize};
    use super::*;

    const LIMIT: Duration = Duration::from_secs(120);

    /// Regression: with a silent node the first try had no end, and a drain waited for it.
    #[tokio::test]
    async fn a_node_that_does_not_answer_is_asked_as_often_as_any_other() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let never = async |_: http::Request<kube::client::Body>| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>().await
        };
        let client = kube::Client::new(tower::service_fn(never), "default");
        let [namespace, devserver, pod] = ["dev-alice", "dev", "dev"].map(str::to_owned);
        let (service_account, on_behalf_of) = (None, None);
        let workspace =
            Workspace { namespace, devserver, pod, pod_uid: None, service_account, on_behalf_of, agent: false };
        let shell = Shell::Heard { pid: "7".to_owned(), born: "9".to_owned() };
        let soon = Duration::from_millis(10);
        let pauses = [soon; 3];
        let tries = try_to_hang_up(&client, workspace, &shell, &pauses, soon);
        timeout(LIMIT, tries).await.expect("it is given up");
        assert_eq!(ASKED.load(Ordering::Relaxed), 3);
    }

    /// A script's call by another shell than the image's `sh`.
    fn call(shell: &[&str], argv: &[impl AsRef<str>]) -> Program {
        let mut program = Program::new(shell[0]);
        program.args(&shell[1..]).args(argv[1..].iter().map(AsRef::as_ref)).env("SHELL", "/bin/sh");
        program.process_group(0).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        program
    }

    async fn speaks(child: &mut Child, expected: &str) {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.next_line().await.unwrap().expect("it runs") != expected {}
    }

    /// Whose hello did not arrive lived on in the pod.
    #[tokio::test]
    async fn a_shell_that_was_not_heard_of_is_found() {
        let size = TerminalSize { columns: 80, rows: 24 };
        let terminal = Terminal { term: "xterm".to_owned(), size, modes: Vec::new() };
        let found = async |shell: &[&str], terminal: Option<Terminal>| {
            let command = Command {
                program: Asked::Command("echo runs; sleep 1000".into()),
                terminal,
                environment: Vec::new(),
                ssh_agent: false,
                x11: None,
                detached: None,
            };
            let run = script::run(&command).unwrap();
            let mut session = call(shell, &run.argv).spawn().unwrap();
            speaks(&mut session, "runs").await;
            // A job of its own that it started, say.
            let mut job = Program::new("sleep");
            job.arg("1000").env("BASTION_EXEC", format!("1.{}", run.nonce)).process_group(0).kill_on_drop(true);
            let mut job = job.spawn().unwrap();
            let unheard = Shell::Unheard { nonce: run.nonce };
            let hangs_up = async || {
                let mut hangup = call(shell, &script::hangup(&unheard)).spawn().unwrap();
                hangup.wait().await.unwrap().code()
            };
            let (ended, _) = tokio::join!(session.wait(), hangs_up());
            assert!(!ended.unwrap().success(), "{shell:?}");
            assert_eq!(hangs_up().await, Some(NO_SUCH_SHELL as i32), "{shell:?}");
            assert!(job.try_wait().unwrap().is_none(), "{shell:?}: a job that lives on was ended");
        };
        let shells: [&[&str]; 4] = [&["sh"], &["dash"], &["bash"], &["busybox", "sh"]];
        let there = shells.iter().filter(|shell| is_there(shell[0]));
        let ways = there.flat_map(|shell| [(shell, None), (shell, Some(terminal.clone()))]);
        let all = join_all(ways.map(|(shell, terminal)| found(shell, terminal)));
        timeout(LIMIT, all).await.expect("all are found");
    }

    fn is_there(program: &str) -> bool {
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join(program).exists())
    }
}
