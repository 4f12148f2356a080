//! Copies between a client and a process. The two directions are two tasks and end apart: the client's EOF ends the
//! program's stdin and nothing else, and the exit status comes after the last byte of output.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info};

use super::context::Drain;
use super::events::Events;
use super::full_screen::FullScreen;
use super::inbox::Inbox;
use super::notice::{Notice, Notices};
use super::standing::Standing;
use super::writer::{Closed, Writer};
use crate::telemetry::{chain, metrics};
use crate::workspace::{self, Exit, Output, Process, Redraw, TerminalSize, WITHOUT_AGENT};

/// The exit status that OpenSSH's client reports for its own failures; ours mean the same to scripts.
pub(super) const FAILURE: u32 = 255;

/// The client's end.
pub(super) struct Client<'a> {
    pub(super) inbox: Arc<Inbox>,
    pub(super) sizes: watch::Receiver<Option<TerminalSize>>,
    pub(super) signals: mpsc::Receiver<String>,
    pub(super) writer: &'a Writer,
    pub(super) events: &'a Events,
    pub(super) standing: &'a Standing,
    pub(super) notices: Notices,
}

/// How it ended, and how much was copied, in bytes.
pub(super) struct Totals {
    pub(super) exit: Exit,
    /// Why nobody will hear how it ended.
    pub(super) lost: Option<workspace::Error>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Totals {
    /// Nothing was copied.
    pub(super) fn ended(status: u32) -> Self {
        Self { exit: Exit::Code(status), lost: None, bytes_in: 0, bytes_out: 0 }
    }
}

/// Copies until the process has ended or the client has closed; then the process is dropped, which hangs it up.
pub(super) async fn process(
    process: Process,
    client: Client<'_>,
    drain: &Drain,
    began: Instant,
) -> Result<Totals, Closed> {
    let Process { stdin, size, mut output, signals: kill, redraw, .. } = process;
    let Client { inbox, sizes, signals, writer, events, standing, notices } = client;
    let terminal = writer.end.is_terminal();
    let (mut notices, mut screen) = (notices, FullScreen::default());
    let (count, mut bytes_in) = watch::channel(0);
    // Of those it cannot hear the client is told, once.
    let (mut unheard, heard) = match kill {
        Some(kill) => (None, Some((signals, kill))),
        None => (Some(signals), None),
    };
    let (input, feeding) = (inbox.clone(), writer.events.clone());
    let feed = async move {
        tokio::join!(feed_stdin(&inbox, stdin, count, &feeding), feed_sizes(sizes, size), feed_signals(heard))
    };
    let _feed = AbortOnDropHandle::new(tokio::spawn(feed.in_current_span()));
    let mut bytes_out = 0;
    let mut told_of_drain = false;
    let mut lost = None;
    let exit = loop {
        let redraw = match &redraw {
            Some(Redraw::ByAgent(redraw)) => Some(redraw),
            Some(Redraw::ByProgram(redraw)) => Some(redraw).filter(|_| screen.is_shown()),
            None => None,
        };
        let output = tokio::select! {
            biased;
            () = events.closed.cancelled() => return Err(Closed),
            () = events.overflowed.cancelled() => {
                writer.say(input.why_lost()).await?;
                break Exit::Code(FAILURE);
            }
            why = standing.ended() => {
                writer.say(why).await?;
                break Exit::Code(FAILURE);
            }
            output = output.recv() => output,
            () = drain.begun(), if terminal && !told_of_drain => {
                told_of_drain = true;
                writer.say(&drain.notice()).await?;
                continue;
            }
            Some(name) = next_of(&mut unheard) => {
                unheard = None;
                let text = format!("{name} was not delivered: {WITHOUT_AGENT}");
                writer.say(&text).await?;
                continue;
            }
            notice = notices.next(&mut bytes_in, redraw.is_some()) => {
                match (notice, redraw) {
                    (Notice::Show(drawn), _) => writer.draw(drawn).await?,
                    (Notice::Redraw, Some(redraw)) => redraw.notify_one(),
                    (Notice::Redraw, None) => {}
                }
                continue;
            }
        };
        if bytes_out == 0 {
            metrics().first_output.observe(began.elapsed().as_secs_f64());
        }
        match output {
            Some(Output::Stdout(data)) => {
                bytes_out += count_out(&data);
                if terminal {
                    screen.see(&data);
                }
                writer.stdout(data).await?;
            }
            Some(Output::Stderr(data)) => {
                bytes_out += count_out(&data);
                writer.stderr(data).await?;
            }
            Some(Output::Eof) => writer.eof().await,
            // As with sshd, whoever waits for it alone need not wait for what it left behind.
            Some(Output::Ended(Exit::Code(status))) => writer.exit_status(status).await,
            Some(Output::Ended(Exit::Signal { .. })) => {}
            Some(Output::Interrupted) => {
                let text = "the connection to your pod is interrupted; what runs there goes on, and so will this";
                writer.say(text).await?;
            }
            Some(Output::Resumed) => {
                writer.say("the connection to your pod is back").await?;
                if let Some(redraw) = redraw {
                    redraw.notify_one();
                }
            }
            Some(Output::Away) => {
                let text = "your pod does not answer; your shell goes on there, and you are back in it here as soon as the \
                            pod answers (what you type until then is not sent; Ctrl-C leaves)";
                writer.say(text).await?;
            }
            // Over whatever a program draws on a terminal.
            Some(Output::Notice(text)) if terminal => notices.add(text),
            Some(Output::Notice(text)) => writer.say(&text).await?,
            Some(Output::Exit(exit)) => break exit,
            Some(Output::Failed(error)) => {
                info!(error = chain(&error), "the program was lost");
                lost = Some(error);
                break Exit::Code(FAILURE);
            }
            None => break Exit::Code(FAILURE),
        }
    };
    for text in notices.rest() {
        writer.say(&text).await?;
    }
    let bytes_in = *bytes_in.borrow();
    Ok(Totals { exit, lost, bytes_in, bytes_out })
}

/// Feeds what the client sent, and drops the sender at the client's EOF. A program that takes no more is no reason to
/// let the inbox fill: the rest is thrown away.
async fn feed_stdin(inbox: &Inbox, stdin: mpsc::Sender<Bytes>, count: watch::Sender<u64>, events: &Events) {
    loop {
        match inbox.take().await {
            Ok(Some(data)) => {
                metrics().bytes_in.inc_by(data.len() as u64);
                count.send_modify(|n| *n += data.len() as u64);
                let _ = stdin.send(data).await;
            }
            Ok(None) => return,
            Err(error) => {
                info!(error = chain(&error), "failed to read back the client's input");
                events.overflowed.cancel();
                // Dropped, it would be the end of what the client sent: half a file would be taken for all of it.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Resizes pass even while stdin is held up.
async fn feed_sizes(mut sizes: watch::Receiver<Option<TerminalSize>>, process: watch::Sender<Option<TerminalSize>>) {
    while sizes.changed().await.is_ok() {
        let size = *sizes.borrow_and_update();
        process.send_replace(size);
    }
}

async fn feed_signals(signals: Option<(mpsc::Receiver<String>, mpsc::Sender<String>)>) {
    let Some((mut signals, process)) = signals else { return };
    while let Some(name) = signals.recv().await {
        let _ = process.send(name).await;
    }
}

/// Never, without any. Cancel safe.
async fn next_of(signals: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match signals {
        Some(signals) => signals.recv().await,
        None => std::future::pending().await,
    }
}

fn count_out(data: &Bytes) -> u64 {
    metrics().bytes_out.inc_by(data.len() as u64);
    data.len() as u64
}
