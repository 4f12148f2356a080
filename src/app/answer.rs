//! `ssh alice@bastion devctl …`: the verbs of [`devctl`], on a session's channel, as alice.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{Instrument, info};

use super::rights;
use crate::api::names;
use crate::devctl::{self, Beyond, Caller, Entered, Keyboard, Piece, Request, Streams, Typed};
use crate::identity::Identity;
use crate::impersonation::impersonate;
use crate::ssh::{Answer, Answered, Authority};
use crate::telemetry::chain;
use crate::workspace::{Command, Exit, Output, Process, Shared, Target, TerminalSize, Usage, Workspaces};

/// Answers what is asked of the bastion itself.
pub(super) struct Devctl {
    client: kube::Client,
    workspaces: Workspaces,
    tasks: TaskTracker,
    authority: Arc<Authority>,
}

/// Pieces that wait, each way.
const PIECES: usize = 8;
/// Lines that may be typed on a terminal before anybody asks for one.
const TYPED_LINES: usize = 64;
/// What a program sends waits where the session counts it.
const SENT_LINES: usize = 1;
/// After Ctrl-C a verb may say what goes on without it.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Devctl {
    pub(super) fn new(
        client: kube::Client,
        workspaces: Workspaces,
        tasks: TaskTracker,
        authority: Arc<Authority>,
    ) -> Self {
        Self { client, workspaces, tasks, authority }
    }

    fn serve(&self, identity: &Identity, target: &Target, request: Request, command: &Command) -> Process {
        let (stdin, input) = mpsc::channel(PIECES);
        let (size, sizes) = watch::channel(command.terminal.as_ref().map(|terminal| terminal.size));
        let (signals, sent) = mpsc::channel(PIECES);
        let (output, outputs) = mpsc::channel(PIECES);
        let (written, pieces) = mpsc::channel(PIECES);
        let is_terminal = command.terminal.is_some();
        let (lines, typed) = mpsc::channel(if is_terminal { TYPED_LINES } else { SENT_LINES });
        let interrupted = CancellationToken::new();
        let user = identity.user();
        let namespace = names::namespace(user);
        let caller = Caller {
            client: impersonate(&self.client, &names::service_account_username(user), &namespace),
            namespace,
            // Verbs are about her own; in another one's she names which.
            devserver: Some(self.workspaces.name(target).to_owned())
                .filter(|_| !matches!(target, Target::Shared { .. })),
            chosen: matches!(target, Target::Named(_)),
            streams: Streams {
                output: written.clone(),
                lines: typed,
                // A client may tell a size without having a terminal.
                columns: Arc::new(move || {
                    sizes.borrow().as_ref().filter(|_| is_terminal).map(|size: &TerminalSize| size.columns)
                }),
                colour: shows_colours(command),
                interrupted: interrupted.clone(),
            },
            beyond: Arc::new(Hers {
                workspaces: self.workspaces.clone(),
                identity: identity.clone(),
                authority: self.authority.clone(),
            }),
        };
        let keyboard = Keyboard::new(is_terminal, interrupted.clone());
        let typing = async move {
            tokio::join!(read(input, keyboard, lines, written), hear(sent, interrupted));
        };
        let typing = AbortOnDropHandle::new(tokio::spawn(typing.in_current_span()));
        let run = run(self.workspaces.clone(), identity.clone(), request, caller);
        let work = async move {
            let run = async move {
                let exit = run.await;
                drop(typing);
                exit
            };
            tokio::select! {
                (exit, ()) = async { tokio::join!(run, write(pieces, &output, is_terminal)) } => {
                    let _ = output.send(Output::Exit(Exit::Code(exit.code().into()))).await;
                }
                // Whoever is gone waits for nothing.
                () = output.closed() => {}
            }
        };
        self.tasks.spawn(work.in_current_span());
        Process { stdin, size, output: outputs, signals: Some(signals), redraw: None, ssh_agent: None, x11: None }
    }
}

impl Answer for Devctl {
    fn answer(&self, identity: &Identity, target: &Target, line: &str, command: &Command) -> Option<Answered> {
        if !devctl::is_ours(line) {
            return None;
        }
        let columns = command.terminal.as_ref().map(|terminal| terminal.size.columns);
        match devctl::parse_line(line, columns, shows_colours(command)) {
            Request::Enter(enter) => {
                let named = |name: &str| Target::named(name).meant_by(identity.user());
                let target = enter.name().map_or_else(|| target.clone(), named);
                Some(Answered::There(target, enter.program()))
            }
            request => Some(Answered::Here(self.serve(identity, target, request, command))),
        }
    }
}

/// Her DevServers' agents are asked for her.
struct Hers {
    workspaces: Workspaces,
    identity: Identity,
    authority: Arc<Authority>,
}

impl Beyond for Hers {
    fn usage<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Usage, String>> {
        let ask = async move {
            let target = Target::Named(name.to_owned());
            self.workspaces.usage(&self.identity, &target).await.map_err(|error| error.user_message())
        };
        ask.boxed()
    }

    fn shared(&self) -> Option<Vec<Shared>> {
        Some(self.workspaces.shared_with(&self.identity))
    }

    fn known_hosts_line(&self, patterns: &str) -> Option<String> {
        Some(self.authority.known_hosts_line(patterns))
    }
}

async fn run(workspaces: Workspaces, identity: Identity, request: Request, mut caller: Caller) -> devctl::Exit {
    let verb = match request {
        Request::Run(verb) => verb,
        Request::Explain(explanation) => return devctl::explain(explanation, &caller).await,
        Request::Enter(_) => return devctl::Exit::Failed,
    };
    let interrupted = caller.streams.interrupted.clone();
    let work = async move {
        // Her account is what the cluster is asked as.
        match workspaces.provide(&identity).await {
            Ok(is_new) => {
                if is_new {
                    rights::heard(&caller.client, &caller.namespace).await;
                }
                devctl::run(*verb, &mut caller).await
            }
            Err(error) => {
                info!(error = chain(&error), "failed to provision the user");
                devctl::fail(&error.user_message(), &caller).await
            }
        }
    };
    let mut work = std::pin::pin!(work);
    tokio::select! {
        exit = &mut work => exit,
        () = interrupted.cancelled() => timeout(LAST_WORDS, work).await.unwrap_or(devctl::Exit::Interrupted),
    }
}

/// Takes what is typed. After the last line there may still be a Ctrl-C.
async fn read(
    mut input: mpsc::Receiver<Bytes>,
    mut keyboard: Keyboard,
    lines: mpsc::Sender<String>,
    echo: mpsc::Sender<Piece>,
) {
    let mut lines = Some(lines);
    while let Some(mut bytes) = input.recv().await {
        while !bytes.is_empty() {
            let Typed { taken, shown, entered } = keyboard.take(&bytes);
            bytes.advance(taken);
            if !shown.is_empty() {
                let _ = echo.send(Piece::Typed(shown.into())).await;
            }
            match (entered, &lines) {
                // Lines that nobody asked for are not kept for ever: Ctrl-C may come behind them.
                (Some(Entered::Line(line)), Some(lines)) if keyboard.is_terminal() => drop(lines.try_send(line)),
                (Some(Entered::Line(line)), Some(lines)) => drop(lines.send(line).await),
                (Some(Entered::End), _) => lines = None,
                (Some(Entered::Line(_)), None) | (None, _) => {}
            }
        }
    }
    if let Some((line, lines)) = keyboard.end().zip(lines) {
        let _ = lines.send(line).await;
    }
}

async fn hear(mut signals: mpsc::Receiver<String>, interrupted: CancellationToken) {
    while let Some(name) = signals.recv().await {
        if matches!(name.as_str(), "INT" | "TERM" | "HUP" | "QUIT" | "KILL") {
            interrupted.cancel();
        }
    }
}

/// Sends on what is written. A client's terminal is in raw mode: it wants to be told where a line begins.
async fn write(mut pieces: mpsc::Receiver<Piece>, output: &mpsc::Sender<Output>, terminal: bool) {
    let lines = |bytes: Bytes| if terminal { with_returns(&bytes) } else { bytes };
    while let Some(piece) = pieces.recv().await {
        let piece = match piece {
            Piece::Stdout(bytes) => Output::Stdout(lines(bytes)),
            Piece::Stderr(bytes) => Output::Stderr(lines(bytes)),
            Piece::Typed(bytes) => Output::Stdout(bytes),
        };
        let _ = output.send(piece).await;
    }
}

fn with_returns(bytes: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for &byte in bytes {
        if byte == b'\n' {
            text.push(b'\r');
        }
        text.push(byte);
    }
    text.into()
}

fn shows_colours(command: &Command) -> bool {
    let unwanted = command.environment.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    command.terminal.as_ref().is_some_and(|terminal| terminal.term != "dumb") && !unwanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_terminal_is_told_where_lines_begin() {
        assert_eq!(with_returns(b"a\nb\n"), "a\r\nb\r\n");
    }

    /// What comes in, the lines that go out, and the keyboard's Ctrl-C.
    fn reading(terminal: bool) -> (mpsc::Sender<Bytes>, mpsc::Receiver<String>, CancellationToken) {
        let (stdin, input) = mpsc::channel(PIECES);
        let (lines, typed) = mpsc::channel(SENT_LINES);
        let (echo, mut echoed) = mpsc::channel(PIECES);
        let interrupted = CancellationToken::new();
        tokio::spawn(read(input, Keyboard::new(terminal, interrupted.clone()), lines, echo));
        tokio::spawn(async move { while echoed.recv().await.is_some() {} });
        (stdin, typed, interrupted)
    }

    #[tokio::test]
    async fn lines_that_no_verb_reads_are_not_taken() {
        let (stdin, mut lines, _) = reading(false);
        let newlines = || Bytes::from_static(&[b'\n'; 1000]);
        // One is in hand, the others wait; no more will ever go in.
        for _ in 0..=PIECES {
            stdin.send(newlines()).await.unwrap();
        }
        assert!(stdin.try_send(newlines()).is_err());
        for _ in 0..1000 {
            assert_eq!(lines.recv().await.as_deref(), Some(""));
        }
        stdin.send(newlines()).await.unwrap();
    }

    #[tokio::test]
    async fn ctrl_c_is_heard_after_ctrl_d() {
        let (stdin, mut lines, interrupted) = reading(true);
        stdin.send(Bytes::from_static(b"\x04")).await.unwrap();
        assert_eq!(lines.recv().await, None);
        stdin.send(Bytes::from_static(b"x\x03")).await.unwrap();
        interrupted.cancelled().await;
    }
}
