//! A program that the pod's agent runs, on a stream of the carrier.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch::error::RecvError;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::super::agent::Agent;
use super::super::memory::Words;
use super::super::{Connections, Error, X11};
use super::{CHUNKS, Command, Output, Process, Program, TerminalSize};
use crate::agent::request::{self, News, Order, ProgramRequest, Request, ShellsRequest, Size, Terminal};
use crate::carrier::{MAX_PAYLOAD, Message, Receiver, Sender, Stream, json, parse};

/// Starts `command` and returns once it runs. Dropping the process ends the stream, and the agent hangs it up.
pub(in super::super) async fn start(agent: &Agent, command: &Command, words: &Words) -> Result<Process, Error> {
    let ssh_agent = command.ssh_agent.then(|| agent.listeners.register());
    let x11 = command.x11.clone().map(|x11| (x11, agent.listeners.register()));
    let listener = ssh_agent.as_ref().map(Connections::listener);
    let request =
        request(command, listener, x11.as_ref().map(|(x11, connections)| (x11.clone(), connections.listener())));
    let request = json(&request);
    if request.len() > MAX_PAYLOAD {
        return Err(Error::CommandTooLong);
    }
    let Stream { sender, mut receiver } = agent.carrier.open(request);
    if command.terminal.is_some() {
        sender.mark_terminal();
    }
    match receiver.receive().await.map(|(message, _)| message) {
        Some(Message::Control(news)) => match parse(&news).map_err(Error::Carrier)? {
            News::Started => {}
            News::NotStarted(why) => return Err(Error::NotStarted(why)),
            News::Exited(_) | News::OutOfMemory(_) | News::Listening(_) | News::Activity(_) | News::History(_) => {
                return Err(Error::Protocol("a program that ended before it began"));
            }
        },
        Some(_) => return Err(Error::Protocol("a program that speaks before it began")),
        None => return Err(Error::Lost("the pod's agent does not run it".into())),
    }
    let (stdin, data) = mpsc::channel(CHUNKS);
    let (size, sizes) = watch::channel(None);
    let (signals, sent) = mpsc::channel(CHUNKS);
    let (output, outputs) = mpsc::channel(CHUNKS);
    let outages = Outages { broken_since: agent.broken_since.clone(), told: false };
    let (orders, words) = (sender.clone(), words.clone());
    let redraw = is_drawn_anew(command).then(Arc::<Notify>::default);
    let upward = AbortOnDropHandle::new(tokio::spawn(upward(sender, data, sizes, sent, redraw.clone())));
    tokio::spawn(async move {
        downward(receiver, outages, &words, &orders, &output).await;
        drop(upward);
    });
    let x11 = x11.map(|(_, connections)| connections);
    Ok(Process { stdin, size, output: outputs, signals, redraw, ssh_agent, x11 })
}

/// Whether the agent knows what is on its terminal.
fn is_drawn_anew(command: &Command) -> bool {
    let lasts = matches!(command.program, Program::Shell) && command.detached.is_some();
    command.terminal.is_some() && (lasts || matches!(command.program, Program::Shells(_)))
}

fn request(command: &Command, ssh_agent: Option<u64>, x11: Option<(X11, u64)>) -> Request {
    let terminal = command.terminal.as_ref();
    let terminal = terminal.map(|terminal| Terminal {
        term: terminal.term.clone(),
        size: size(terminal.size),
        modes: terminal.modes.clone(),
    });
    let out_of_memory = true;
    let program = match &command.program {
        Program::Shell => request::Program::Shell,
        Program::Command(line) => match String::from_utf8(line.clone()) {
            Ok(text) => request::Program::Command(text),
            Err(other) => request::Program::Bytes(other.into_bytes()),
        },
        Program::Sftp => request::Program::Sftp,
        Program::Shells(shells) => {
            return Request::Shells(ShellsRequest { shells: shells.clone(), terminal, ssh_agent, x11, out_of_memory });
        }
    };
    let detached = command.detached.map(|detached| detached.as_secs());
    let environment = command.environment.clone();
    Request::Program(ProgramRequest { program, terminal, environment, ssh_agent, x11, detached, out_of_memory })
}

async fn upward(
    sender: Sender,
    mut stdin: mpsc::Receiver<Bytes>,
    mut sizes: watch::Receiver<Option<TerminalSize>>,
    mut signals: mpsc::Receiver<String>,
    redraw: Option<Arc<Notify>>,
) {
    let feed = async {
        while let Some(data) = stdin.recv().await {
            if sender.data(data).await.is_err() {
                return;
            }
        }
        let _ = sender.send(Message::Eof);
    };
    let resize = async {
        while sizes.changed().await.is_ok() {
            let new = *sizes.borrow_and_update();
            if let Some(new) = new {
                let _ = sender.send(Message::control(&Order::Resize(size(new))));
            }
        }
    };
    let signal = async {
        while let Some(name) = signals.recv().await {
            let _ = sender.send(Message::control(&Order::Signal(name)));
        }
    };
    let draw = async {
        while let Some(redraw) = &redraw {
            redraw.notified().await;
            let _ = sender.send(Message::control(&Order::Redraw));
        }
    };
    tokio::join!(feed, resize, signal, draw);
    std::future::pending::<()>().await; // The stream lasts as long as the program.
}

/// Returns when the program has ended, or nobody listens any more.
async fn downward(
    mut receiver: Receiver,
    mut outages: Outages,
    words: &Words,
    orders: &Sender,
    output: &mpsc::Sender<Output>,
) {
    loop {
        let received = tokio::select! {
            received = receiver.receive() => received,
            news = outages.next() => {
                let redraw = matches!(news, Output::Resumed);
                let _ = output.send(news).await;
                if redraw {
                    let _ = orders.send(Message::control(&Order::Redraw));
                }
                continue;
            }
            () = output.closed() => return,
        };
        let Some((message, _credit)) = received else {
            let error = Error::Lost("the pod's agent is gone, or could not be reached again".into());
            let _ = output.send(Output::Failed(error)).await;
            return;
        };
        let passed = match message {
            Message::Data(data) => output.send(Output::Stdout(data)).await,
            Message::Stderr(data) => output.send(Output::Stderr(data)).await,
            Message::Eof => output.send(Output::Eof).await,
            Message::Control(news) => {
                let end = match parse(&news) {
                    Ok(News::OutOfMemory(told)) => {
                        let _ = output.send(Output::Notice(words.say(told))).await;
                        continue;
                    }
                    Ok(News::Exited(exit)) => Output::Exit(exit),
                    _ => Output::Failed(Error::Protocol("news of a program that cannot be")),
                };
                // The end may be the first that is heard after an interruption.
                if outages.told {
                    let _ = output.send(Output::Resumed).await;
                }
                let _ = output.send(end).await;
                return;
            }
            _ => Ok(()),
        };
        if passed.is_err() {
            return;
        }
    }
}

/// What a session should know of the link to its pod.
struct Outages {
    broken_since: watch::Receiver<Option<Instant>>,
    told: bool,
}

impl Outages {
    /// Of a shorter one nothing is said.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Cancel safe.
    async fn next(&mut self) -> Output {
        let Self { broken_since, told } = self;
        let heard = async {
            loop {
                let since = *broken_since.wait_for(|since| since.is_some() != *told).await?;
                let Some(since) = since else { return Ok::<_, RecvError>(Output::Resumed) };
                if timeout_at(since + Self::PATIENCE, broken_since.wait_for(Option::is_none)).await.is_err() {
                    return Ok(Output::Interrupted);
                }
            }
        };
        match heard.await {
            Ok(news) => {
                *told = !*told;
                news
            }
            // The stream's end tells.
            Err(_) => std::future::pending().await,
        }
    }
}

fn size(size: TerminalSize) -> Size {
    Size { columns: size.columns, rows: size.rows }
}
