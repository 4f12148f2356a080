//! Copies between a client and a process. The two directions are two tasks and end apart: the client's EOF ends the
//! program's stdin and nothing else, and the exit status comes after the last byte of output.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
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

/// What is said of the way to the pod.
const INTERRUPTED: &str = "the connection to your pod is interrupted; what runs there goes on, and so will this";
const RESUMED: &str = "the connection to your pod is back";
const AWAY: &str = "your pod does not answer; your shell goes on there, and you are back in it here as soon as the pod \
                    answers (what you type until then is not sent; Ctrl-C leaves)";

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
    let Process { stdin, size, output, signals: kill, redraw, .. } = process;
    let Client { inbox, sizes, signals, writer, events, standing, notices } = client;
    let (count, bytes_in) = watch::channel(0);
    // Of those it cannot hear the client is told, once.
    let (unheard, heard) = match kill {
        Some(kill) => (None, Some((signals, kill))),
        None => (Some(signals), None),
    };
    let (input, feeding) = (inbox.clone(), writer.events.clone());
    let feed = async move {
        tokio::join!(feed_stdin(&input, stdin, count, &feeding), feed_sizes(sizes, size), feed_signals(heard))
    };
    let _feed = AbortOnDropHandle::new(tokio::spawn(feed.in_current_span()));
    let mut out = Out {
        output,
        redraw,
        writer,
        inbox: &inbox,
        events,
        standing,
        drain,
        told_of_drain: false,
        unheard,
        notices,
        screen: FullScreen::default(),
        began,
        bytes_in,
        bytes_out: 0,
        lost: None,
    };
    let exit = out.copy().await?;
    for text in out.notices.rest() {
        writer.say(&text).await?;
    }
    let bytes_in = *out.bytes_in.borrow();
    Ok(Totals { exit, lost: out.lost, bytes_in, bytes_out: out.bytes_out })
}

/// The way out: what the client gets to see.
struct Out<'a> {
    output: mpsc::Receiver<Output>,
    redraw: Option<Redraw>,
    writer: &'a Writer,
    inbox: &'a Inbox,
    events: &'a Events,
    standing: &'a Standing,
    drain: &'a Drain,
    told_of_drain: bool,
    unheard: Option<mpsc::Receiver<String>>,
    notices: Notices,
    screen: FullScreen,
    began: Instant,
    bytes_in: watch::Receiver<u64>,
    bytes_out: u64,
    /// Why nobody will hear how the program ended.
    lost: Option<workspace::Error>,
}

/// What there is for the client.
enum Next<'a> {
    /// None: the program's side is gone.
    Output(Option<Output>),
    /// The bastion has something to say.
    Say(String),
    Notice(Notice),
    /// It ends here, and why.
    Over(&'a str),
}

impl<'a> Out<'a> {
    /// Copies to the program's end.
    async fn copy(&mut self) -> Result<Exit, Closed> {
        loop {
            match self.next().await? {
                Next::Output(output) => {
                    if let Some(exit) = self.show(output).await? {
                        return Ok(exit);
                    }
                }
                Next::Say(text) => self.writer.say(&text).await?,
                Next::Notice(Notice::Show(drawn)) => self.writer.draw(drawn).await?,
                Next::Notice(Notice::Redraw) => self.draw_anew(),
                Next::Over(why) => {
                    self.writer.say(why).await?;
                    return Ok(Exit::Code(FAILURE));
                }
            }
        }
    }

    /// Waits for what comes first.
    async fn next(&mut self) -> Result<Next<'a>, Closed> {
        let terminal = self.writer.end.is_terminal();
        let is_drawn_anew = self.redraw().is_some();
        tokio::select! {
            biased;
            () = self.events.closed.cancelled() => Err(Closed),
            () = self.events.overflowed.cancelled() => Ok(Next::Over(self.inbox.why_lost())),
            why = self.standing.ended() => Ok(Next::Over(why)),
            output = self.output.recv() => Ok(Next::Output(output)),
            () = self.drain.begun(), if terminal && !self.told_of_drain => {
                self.told_of_drain = true;
                Ok(Next::Say(self.drain.notice()))
            }
            Some(name) = next_of(&mut self.unheard) => {
                self.unheard = None;
                Ok(Next::Say(format!("{name} was not delivered: {WITHOUT_AGENT}")))
            }
            notice = self.notices.next(&mut self.bytes_in, is_drawn_anew) => Ok(Next::Notice(notice)),
        }
    }

    /// Shows what the program's side has; how it ended, if that is it.
    async fn show(&mut self, output: Option<Output>) -> Result<Option<Exit>, Closed> {
        if self.bytes_out == 0 {
            metrics().first_output.observe(self.began.elapsed().as_secs_f64());
        }
        let terminal = self.writer.end.is_terminal();
        match output {
            Some(Output::Stdout(data)) => {
                self.bytes_out += count_out(&data);
                if terminal {
                    self.screen.see(&data);
                }
                self.writer.stdout(data).await?;
            }
            Some(Output::Stderr(data)) => {
                self.bytes_out += count_out(&data);
                self.writer.stderr(data).await?;
            }
            Some(Output::Eof) => self.writer.eof().await,
            // As with sshd, whoever waits for it alone need not wait for what it left behind.
            Some(Output::Ended(Exit::Code(status))) => self.writer.exit_status(status).await,
            Some(Output::Ended(Exit::Signal { .. })) => {}
            Some(Output::Interrupted) => self.writer.say(INTERRUPTED).await?,
            Some(Output::Resumed) => {
                self.writer.say(RESUMED).await?;
                self.draw_anew();
            }
            Some(Output::Away) => self.writer.say(AWAY).await?,
            // Over whatever a program draws on a terminal.
            Some(Output::Notice(text)) if terminal => self.notices.add(text),
            Some(Output::Notice(text)) => self.writer.say(&text).await?,
            Some(Output::Exit(exit)) => return Ok(Some(exit)),
            Some(Output::Failed(error)) => {
                info!(error = chain(&error), "the program was lost");
                self.lost = Some(error);
                return Ok(Some(Exit::Code(FAILURE)));
            }
            None => return Ok(Some(Exit::Code(FAILURE))),
        }
        Ok(None)
    }

    /// Who draws the screen anew, if there is one.
    fn redraw(&self) -> Option<&Notify> {
        match &self.redraw {
            Some(Redraw::ByAgent(redraw)) => Some(redraw),
            Some(Redraw::ByProgram(redraw)) => Some(&**redraw).filter(|_| self.screen.is_shown()),
            None => None,
        }
    }

    fn draw_anew(&self) {
        if let Some(redraw) = self.redraw() {
            redraw.notify_one();
        }
    }
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
