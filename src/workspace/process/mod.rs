//! A program that runs in a pod: its stdio, the size of its terminal, how it ended.
//!
//! Two tasks serve each, one for each direction, so that neither waits for the other.

mod asked;
pub(super) mod carried;
mod comeback;
mod downward;
mod hangup;
mod hello;
#[cfg(test)]
mod older_agents;
mod outages;
mod upward;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::exec::{self, ExecRequest};
use super::marker::Marker;
use super::script::Shell;
use super::{Connections, Error, Exit, Shells, Terminal, TerminalSize, Workspace, X11, script};
use crate::api::names;
use downward::Downward;
use upward::Upward;

pub(super) use comeback::Way;

/// What a session asks to run.
#[derive(Clone, Debug)]
pub struct Command {
    pub program: Program,
    /// The terminal to run it on; without one, stdin, stdout and stderr are apart. Its modes are not applied without an
    /// agent.
    pub terminal: Option<Terminal>,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Whether it is to find the user's ssh-agent.
    pub ssh_agent: bool,
    /// The display of the user's that it is to find.
    pub x11: Option<X11>,
    /// How long it may go on after its session, if it is a shell on a terminal.
    pub detached: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Program {
    /// The user's login shell.
    Shell,
    /// A command line for the user's shell, in whatever encoding.
    Command(Bytes),
    /// An SFTP server.
    Sftp,
    /// What the pod's agent tells about the shells that last.
    Shells(Shells),
}

/// What comes from a process, in order within stdout and within stderr.
#[derive(Debug)]
pub enum Output {
    Stdout(Bytes),
    Stderr(Bytes),
    /// It has closed its stdout and stderr, and runs on.
    Eof,
    /// How it ended, while others hold its stdout and stderr open. [`Output::Exit`] follows once they let go.
    Ended(Exit),
    /// For a while nothing comes or goes; the program runs on.
    Interrupted,
    /// It goes on where it was.
    Resumed,
    /// It was away for too long. A shell that lasts goes on; what is typed is not sent until the session is back in it.
    Away,
    /// What its user should read, in a sentence.
    Notice(String),
    /// How it ended; without an agent, code 128 + n if signal n ended it. The last.
    Exit(Exit),
    /// It may still run, but nobody will hear of it. The last.
    Failed(Error),
}

/// A running program. Dropping it before its [`Output::Exit`] hangs up its process group: nothing is left in the pod.
#[derive(Debug)]
pub struct Process {
    /// Its stdin, in any sizes; dropping the sender ends it.
    pub stdin: mpsc::Sender<Bytes>,
    /// The size of its terminal; the last value wins.
    pub size: watch::Sender<Option<TerminalSize>>,
    pub output: mpsc::Receiver<Output>,
    /// Signals for it, by their names without SIG. None where it cannot hear of them, as without an agent.
    pub signals: Option<mpsc::Sender<String>>,
    /// Asks for the terminal to be drawn anew, where that can be done.
    pub redraw: Option<Redraw>,
    /// Who in the pod asks for the user's ssh-agent.
    pub ssh_agent: Option<Connections>,
    /// Who in the pod asks for the user's display.
    pub x11: Option<Connections>,
}

/// How a terminal is drawn anew.
#[derive(Clone, Debug)]
pub enum Redraw {
    /// By the agent, which knows what is on that of a shell that lasts.
    ByAgent(Arc<Notify>),
    /// By the program itself, if it fills the screen.
    ByProgram(Arc<Notify>),
}

/// How a stream is kept alive, and told from a dead one.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExecKeepalive {
    /// Between pieces of data when there is nothing to say: API servers, kubelets and runtimes end a silent stream.
    pub(super) data: Duration,
    /// Between pings; three without an answer mean that the other side is gone.
    pub(super) ping: Duration,
    /// What it may take until the program runs.
    pub(super) answered: Duration,
}

/// Chunks that wait between the stream and the session, each way: what is read ahead so that the other side, which
/// serves all channels of an exec in one loop, is not held up.
const CHUNKS: usize = 8;

/// Starts `command` in `workspace` and returns once its shell runs. Nothing is left behind if the caller stops waiting.
pub(super) async fn start(
    client: &kube::Client,
    workspace: &Workspace,
    command: &Command,
    keepalive: ExecKeepalive,
    tasks: &TaskTracker,
) -> Result<Process, Error> {
    // In a task of its own: an exec that was asked for runs, whoever waits for it, and is to be hung up.
    let starting = begin(client.clone(), workspace.clone(), command.clone(), keepalive, tasks.clone());
    tasks.spawn(starting).await.map_err(|panic| Error::Lost(Box::new(panic)))?
}

async fn begin(
    client: kube::Client,
    workspace: Workspace,
    command: Command,
    keepalive: ExecKeepalive,
    tasks: TaskTracker,
) -> Result<Process, Error> {
    let run = script::run(&command)?;
    let tty = command.terminal.is_some();
    let argv: Vec<&str> = run.argv.iter().map(String::as_str).collect();
    let asked = async {
        let (sink, mut stream) = exec::open(&client, &request(&workspace, &argv, true, tty)).await?.split();
        let hello = hello::read(&mut stream, &run.nonce, tty).await?;
        Ok((sink, stream, hello))
    };
    let begun = timeout(keepalive.answered, asked).await;
    let begun = begun.unwrap_or_else(|_| Err(Error::Lost("the exec was not answered".into())));
    // It may run all the same, or be about to.
    if let Err(Error::Lost(_) | Error::Protocol(_)) = &begun {
        let (client, workspace, shell) =
            (client.clone(), workspace.clone(), Shell::Unheard { nonce: run.nonce.clone() });
        tasks.spawn(async move { hangup::hang_up(&client, workspace, &shell).await });
    }
    let (sink, stream, hello) = match begun {
        Err(Error::Lost(error)) => return Err(lost(&command, error)),
        begun => begun?,
    };

    let (stdin, stdin_rx) = mpsc::channel(CHUNKS);
    let (size, size_rx) = watch::channel(command.terminal.map(|terminal| terminal.size));
    let (output_tx, output) = mpsc::channel(CHUNKS);
    let state = Arc::new(State::default());
    let upward = Upward { sink, stdin: stdin_rx, size: size_rx, state: state.clone(), keepalive };
    let upward = tokio::spawn(upward.run(run.preamble.map(Bytes::from)));
    let marker = (!tty).then(|| Marker::new(format!("{}\n", run.nonce).into_bytes()));
    let downward = Downward { stream, output: output_tx, marker, state };
    tasks.spawn(async move {
        let ended = downward.run(hello.early).await;
        upward.abort();
        if !ended {
            hangup::hang_up(&client, workspace, &hello.shell).await;
        }
    });
    Ok(Process { stdin, size, output, signals: None, redraw: None, ssh_agent: None, x11: None })
}

fn request<'a>(workspace: &'a Workspace, command: &'a [&'a str], stdin: bool, tty: bool) -> ExecRequest<'a> {
    ExecRequest {
        namespace: &workspace.namespace,
        pod: &workspace.pod,
        container: names::CONTAINER,
        impersonate: workspace.service_account.as_deref(),
        on_behalf_of: workspace.on_behalf_of.as_deref(),
        command,
        stdin,
        tty,
    }
}

/// What the two directions know of each other.
#[derive(Default)]
struct State {
    /// The program has ended: stdin is to be closed.
    ended: Notify,
    /// Something came since the last ping, and it was answered.
    alive: AtomicBool,
    ponged: AtomicBool,
    /// The session does not take what came, so that a pong may wait unread.
    held_up: AtomicBool,
    /// The other side is gone.
    lost: Notify,
}

/// Before its program answered. A command may have begun, and must not run twice.
fn lost(command: &Command, error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match command.program {
        Program::Command(_) => Error::Unanswered,
        _ => Error::Lost(error),
    }
}

fn closed() -> Error {
    Error::Lost("the stream was closed before the program's status came".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Her pod's node is silent, say: she waited until the kernel gave up the connection.
    #[tokio::test]
    async fn a_program_that_never_answers_is_given_up() {
        let (asked, mut requests) = mpsc::unbounded_channel();
        let never = move |request: http::Request<kube::client::Body>| {
            let _ = asked.send(request.uri().to_string());
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
        };
        let client = kube::Client::new(tower::service_fn(never), "default");
        let [namespace, devserver, pod, account] = ["dev-alice", "dev", "dev", "alice"].map(str::to_owned);
        let service_account = Some(account);
        let workspace =
            Workspace { namespace, devserver, pod, pod_uid: None, service_account, on_behalf_of: None, agent: false };
        let hour = Duration::from_hours(1);
        let keepalive = ExecKeepalive { data: hour, ping: hour, answered: Duration::from_millis(20) };
        let ask = async |program| {
            let (environment, terminal, x11, detached) = (Vec::new(), None, None, None);
            let command = Command { program, terminal, environment, ssh_agent: false, x11, detached };
            let tasks = TaskTracker::new();
            let starting = start(&client, &workspace, &command, keepalive, &tasks);
            timeout(Duration::from_secs(60), starting).await.expect("it is given up").unwrap_err()
        };
        assert!(ask(Program::Shell).await.is_outage(), "it is asked for again");
        assert!(matches!(ask(Program::Command("./deploy".into())).await, Error::Unanswered));

        // It may have begun: it was left in the pod, and what waited for its answer here.
        let mut nonces = Vec::new();
        while nonces.len() < 4 {
            let uri = timeout(Duration::from_secs(60), requests.recv()).await.expect("it is hung up").unwrap();
            let call = uri.split_once("command=bastion&command=").expect("a script is called").1;
            nonces.push(call.split('&').next().unwrap().to_owned());
        }
        nonces.sort_unstable();
        assert!(nonces[0] == nonces[1] && nonces[1] != nonces[2] && nonces[2] == nonces[3], "{nonces:?}");
    }
}
