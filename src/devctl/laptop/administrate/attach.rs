//! A program in a pod that is joined to this process: what goes in and comes out is passed on byte for byte.

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::super::failure::Failure;
use super::super::remote::{PIECE, terminated, write};
use super::super::terminal::Raw;
use super::super::written;
use super::pod::{self, Pod, size};
use crate::plain::plain;
use crate::workspace::{Exit, Output, Process, Program, TerminalSize};

/// Runs `program`, joined to this process, until it has ended or somebody ends this process: then the terminal is left
/// as it was found, and the program not left behind.
pub(super) async fn run(pod: Pod, program: Program, terminal: bool) -> Result<u8, Failure> {
    let joined = async { join(pod.start(program, terminal).await?, terminal, &pod).await };
    let status = tokio::select! {
        status = joined => status,
        status = terminated() => Ok(status),
    };
    pod.leave().await;
    status
}

/// Passes on until the program has ended, and tells how. Dropped, it leaves the terminal as it was found.
async fn join(process: Process, terminal: bool, pod: &Pod) -> Result<u8, Failure> {
    let Process { stdin, size, output, .. } = process;
    let _raw = match terminal {
        true => Some(Raw::enter().map_err(|error| Failure::new(format!("failed to set up the terminal: {error}")))?),
        false => None,
    };
    let input = async {
        tokio::join!(send(stdin), resize(size, terminal));
        std::future::pending().await
    };
    tokio::select! {
        ended = show(output, terminal, pod) => ended,
        never = input => never,
    }
}

async fn show(mut output: mpsc::Receiver<Output>, terminal: bool, pod: &Pod) -> Result<u8, Failure> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(output) = output.recv().await {
        let done = match output {
            Output::Stdout(data) => write(&mut stdout, &data).await,
            Output::Stderr(data) => write(&mut stderr, &data).await,
            Output::Notice(text) => {
                let end = if terminal { "\r\n" } else { "\n" };
                write(&mut stderr, format!("devctl: {}{end}", plain(&text)).as_bytes()).await
            }
            Output::Exit(Exit::Code(status)) => return Ok(u8::try_from(status).unwrap_or(u8::MAX)),
            Output::Exit(Exit::Signal { number, .. }) => return Ok(u8::try_from(128 + number).unwrap_or(u8::MAX)),
            Output::Failed(error) => return Err(pod.explain(&error)),
            // There is but one link, whose end is the program's.
            Output::Eof | Output::Ended(_) | Output::Interrupted | Output::Resumed | Output::Away => Ok(()),
        };
        if let Err(error) = done {
            return written(&error);
        }
    }
    Err(pod::lost())
}

/// Sends stdin, and its end.
async fn send(to: mpsc::Sender<Bytes>) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; PIECE];
    while let Ok(n @ 1..) = stdin.read(&mut buffer).await {
        if to.send(Bytes::copy_from_slice(&buffer[..n])).await.is_err() {
            return;
        }
    }
}

/// Tells each new size of the terminal.
async fn resize(to: watch::Sender<Option<TerminalSize>>, terminal: bool) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    while terminal && changes.recv().await.is_some() {
        to.send_replace(Some(size()));
    }
}
