//! `devctl --context NAME …`: the verbs on a cluster that an administrator's kubeconfig names, with her own rights.

mod attach;
mod forward;
mod pod;

pub(super) use forward::run as forward;
pub(super) use pod::{Pod, lost};

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::arguments::{Cluster, Ssh};
use super::failure::{Failure, INTERRUPTED, USAGE};
use super::remote::write;
use super::{BROKEN_PIPE, terminal, written};
use crate::api::DevServer;
use crate::devctl::{self, Beyond, Caller, Piece, Request, Streams};
use crate::workspace::{Program, Shared, Usage};

/// Pieces of output, and lines of input, that wait.
const PIECES: usize = 8;

/// The cluster that is asked, and about whose DevServers.
#[derive(Clone)]
struct There {
    client: kube::Client,
    /// Its URL.
    server: String,
    namespace: String,
    /// The options that ask it again.
    options: String,
}

/// Does what a verb is for.
pub(super) async fn verb(cluster: &Cluster, words: &[OsString]) -> Result<u8, Failure> {
    let words = words.iter().map(|word| word.to_str().map(str::to_owned));
    let words: Option<Vec<String>> = std::iter::once(Some(devctl::NAME.to_owned())).chain(words).collect();
    let words = words.ok_or_else(|| Failure::new("an argument is not UTF-8 text").status(USAGE))?;
    let columns = columns();
    let work = match devctl::parse(&words, columns, colour(columns)) {
        Request::Enter(enter) => {
            let (pod, program) = (Pod::open(cluster, enter.name()).await?, enter.program());
            return attach::run(pod, program, terminal::is_interactive()).await;
        }
        // Help needs no cluster.
        Request::Explain(explanation) => {
            return match explanation.exit {
                devctl::Exit::Done => super::print(&explanation.text),
                exit => {
                    eprint!("{}", explanation.text);
                    Ok(exit.code())
                }
            };
        }
        Request::Run(verb) => async move |caller: &mut Caller| devctl::run(*verb, caller).await,
    };
    let (typed, lines) = mpsc::channel(PIECES);
    let _reading = AbortOnDropHandle::new(tokio::spawn(read(typed)));
    let exit = attended(There::of(cluster).await?, lines, work).await?;
    Ok(exit.map_or(BROKEN_PIPE, devctl::Exit::code))
}

/// A shell or a command in a DevServer.
pub(super) async fn ssh(cluster: &Cluster, ssh: &Ssh) -> Result<u8, Failure> {
    let command = ssh.line();
    let terminal = ssh.wants_terminal(&command);
    let pod = Pod::open(cluster, ssh.name.as_deref()).await?;
    attach::run(pod, command.map_or(Program::Shell, |line| Program::Command(line.into())), terminal).await
}

/// That something is of this laptop, and no cluster's.
pub(super) fn not_there() -> Failure {
    Failure::new("this command does not talk to a cluster")
        .cure("drop --context, --kubeconfig and --namespace")
        .status(USAGE)
}

/// Does `work` with what is said shown here, until it is done or Ctrl-C was pressed twice: a verb may have last words,
/// but she is not kept. None: whoever reads our stdout has gone.
async fn attended<T>(
    there: There,
    lines: mpsc::Receiver<String>,
    work: impl AsyncFnOnce(&mut Caller) -> T,
) -> Result<Option<T>, Failure> {
    let (output, pieces) = mpsc::channel(PIECES);
    let interrupted = CancellationToken::new();
    let colour = colour(columns());
    let streams = Streams { output, lines, columns: Arc::new(columns), colour, interrupted: interrupted.clone() };
    let There { client, namespace, .. } = there.clone();
    let beyond = Arc::new(there);
    let mut caller = Caller { client, namespace, devserver: None, chosen: false, beyond, streams };
    let work = async move { work(&mut caller).await };
    let interrupt = async {
        for _ in 0..2 {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            interrupted.cancel();
        }
    };
    tokio::select! {
        (done, shown) = async { tokio::join!(work, show(pieces)) } => match shown {
            Ok(()) => Ok(Some(done)),
            Err(error) => written(&error).map(|_| None),
        },
        () = interrupt => Err(Failure::new("interrupted").status(INTERRUPTED)),
    }
}

impl There {
    async fn of(cluster: &Cluster) -> Result<Self, Failure> {
        let (client, server) = client(cluster).await?;
        let namespace = cluster.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Self { client, server, namespace, options: pod::options(cluster, None) })
    }
}

/// Pods are asked with her own rights; what only the bastion knows is not known.
impl Beyond for There {
    fn usage<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Usage, String>> {
        let ask = async move {
            let Self { client, namespace, .. } = self.clone();
            let servers = kube::Api::<DevServer>::namespaced(client.clone(), &namespace);
            let server = servers.get(name).await.map_err(|error| devctl::Error::of_api(error).text)?;
            let usage = Usage::ask(client, server, &namespace).await;
            usage.map_err(|error| pod::refusal(&error, &namespace).unwrap_or_else(|| error.user_message()))
        };
        ask.boxed()
    }

    fn shared(&self) -> Option<Vec<Shared>> {
        None
    }

    fn server(&self) -> Option<&str> {
        Some(&self.server)
    }

    fn options(&self) -> &str {
        &self.options
    }

    fn known_hosts_line(&self, _: &str) -> Option<String> {
        None
    }
}

/// A client, and the URL that it asks.
async fn client(cluster: &Cluster) -> Result<(kube::Client, String), Failure> {
    let wrong = |error: String| {
        Failure::new(format!("no cluster can be asked: {error}"))
            .cure("`kubectl config get-contexts` shows which contexts there are")
    };
    let file = match &cluster.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let file = file.map_err(|error| wrong(error.to_string()))?;
    let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
    let mut config =
        kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(error.to_string()))?;
    // A shell may say nothing for long.
    config.read_timeout = None;
    // The one there is; whoever came first has installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = config.cluster_url.to_string();
    let client = kube::Client::try_from(config).map_err(|error| wrong(error.to_string()))?;
    Ok((client, server))
}

/// How wide stdout is, where it is a terminal.
fn columns() -> Option<u16> {
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    is_terminal.then(|| u16::try_from(terminal::size().0).unwrap_or(u16::MAX))
}

fn colour(columns: Option<u16>) -> bool {
    columns.is_some() && terminal::shows_colour()
}

async fn show(mut pieces: mpsc::Receiver<Piece>) -> io::Result<()> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Stdout(bytes) => write(&mut stdout, &bytes).await?,
            Piece::Stderr(bytes) => write(&mut stderr, &bytes).await?,
            // The terminal has shown it.
            Piece::Typed(_) => {}
        }
    }
    Ok(())
}

async fn read(typed: mpsc::Sender<String>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if typed.send(line).await.is_err() {
            return;
        }
    }
}
