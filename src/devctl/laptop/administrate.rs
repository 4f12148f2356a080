//! `devctl --context NAME …`: the verbs on a cluster that an administrator's kubeconfig names, with her own rights.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::arguments::Cluster;
use super::failure::{Failure, USAGE};
use super::remote::write;
use super::{terminal, written};
use crate::devctl::{self, Caller, Piece, Request, Streams};

/// Pieces of output, and lines of input, that wait.
const PIECES: usize = 8;

pub(super) async fn verb(cluster: Cluster, words: &[OsString]) -> Result<u8, Failure> {
    let words = words.iter().map(|word| word.to_str().map(str::to_owned));
    let words: Option<Vec<String>> = std::iter::once(Some(devctl::NAME.to_owned())).chain(words).collect();
    let words = words.ok_or_else(|| Failure::new("an argument is no text").status(USAGE))?;
    let columns = columns();
    let colour = columns.is_some() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let request = devctl::parse(&words, columns, colour);
    if let Request::Enter(enter) = &request {
        return Err(not_here(&cluster, &Sought::Session(enter.name().unwrap_or("NAME"))));
    }
    let client = client(&cluster).await?;
    let namespace = cluster.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let (output, pieces) = mpsc::channel(PIECES);
    let (typed, lines) = mpsc::channel(PIECES);
    let interrupted = CancellationToken::new();
    let streams = Streams { output, lines, columns: Arc::new(self::columns), colour, interrupted: interrupted.clone() };
    let mut caller = Caller {
        client,
        namespace,
        devserver: None,
        chosen: false,
        last_hour: None,
        taken: None,
        shared: None,
        known_hosts_line: None,
        streams,
    };
    let work = async move {
        match request {
            Request::Run(verb) => devctl::run(*verb, &mut caller).await,
            Request::Explain(explanation) => devctl::explain(explanation, &caller).await,
            Request::Enter(_) => devctl::Exit::Usage,
        }
    };
    let _reading = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(read(typed)));
    let interrupt = async {
        // Twice: a verb may have last words, but she is not kept.
        for _ in 0..2 {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            interrupted.cancel();
        }
    };
    tokio::select! {
        (exit, shown) = async { tokio::join!(work, show(pieces)) } => match shown {
            Ok(()) => Ok(exit.code()),
            Err(error) => written(&error),
        },
        () = interrupt => Ok(devctl::Exit::Interrupted.code()),
    }
}

/// What goes through the bastion alone.
pub(super) enum Sought<'a> {
    /// In this DevServer.
    Session(&'a str),
    Files,
    Ports(&'a str),
    /// Something of this laptop.
    Other,
}

/// That it does, and by which command the cluster is asked for the same.
pub(super) fn not_here(cluster: &Cluster, sought: &Sought<'_>) -> Failure {
    let option = |name: &str, value: Option<String>| value.map(|value| format!(" {name} {value}")).unwrap_or_default();
    let file = cluster.kubeconfig.as_ref().map(|file| file.display().to_string());
    let kubectl = format!(
        "kubectl{}{}{}",
        option("--kubeconfig", file),
        option("--context", cluster.context.clone()),
        option("--namespace", cluster.namespace.clone())
    );
    let (what, instead) = match sought {
        Sought::Session(name) => {
            ("sessions go", format!("; `{kubectl} exec -it {name} -- sh` is none of the bastion's"))
        }
        Sought::Files => ("files go", format!("; `{kubectl} cp` copies by itself")),
        Sought::Ports(name) => ("forwards go", format!("; `{kubectl} port-forward {name} PORT` forwards by itself")),
        Sought::Other => {
            let cure = "leave out --context and the like";
            return Failure::new("this verb asks no cluster").cure(cure).status(USAGE);
        }
    };
    Failure::new(format!("{what} through the bastion"))
        .cure(format!("leave out --context and the like{instead}"))
        .status(USAGE)
}

async fn client(cluster: &Cluster) -> Result<kube::Client, Failure> {
    let wrong = |error: String| {
        Failure::new(format!("no cluster can be asked: {error}"))
            .cure("`kubectl config get-contexts` tells what there is")
    };
    let file = match &cluster.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let file = file.map_err(|error| wrong(error.to_string()))?;
    let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
    let config =
        kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(error.to_string()))?;
    // The one there is; whoever came first has installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    kube::Client::try_from(config).map_err(|error| wrong(error.to_string()))
}

/// How wide stdout is, where it is a terminal.
fn columns() -> Option<u16> {
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    is_terminal.then(|| u16::try_from(terminal::size().0).unwrap_or(u16::MAX))
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
