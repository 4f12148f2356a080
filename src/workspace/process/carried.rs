//! A program that the pod's agent runs, on a stream of the carrier.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::agent::Agent;
use super::super::memory::Words;
use super::super::{Connections, Error};
use super::asked::{answered, lasts, request};
use super::comeback::{Comeback, Way};
use super::outages::Outages;
use super::{CHUNKS, Command, Output, Process, Redraw, TerminalSize};
use crate::agent::request::{Order, Response};
use crate::carrier::{MAX_PAYLOAD, Message, Receiver, Sender, Stream, json, parse};

/// Starts `command` and returns once it runs. Dropping the process ends the stream, and the agent hangs it up. To a
/// shell that lasts, `way` leads back, if there is one.
pub(in super::super) async fn start(
    agent: &Agent,
    command: &Command,
    words: &Words,
    way: Option<Way>,
) -> Result<Process, Error> {
    let ssh_agent = command.ssh_agent.then(|| agent.listeners.register());
    let x11 = command.x11.clone().map(|x11| (x11, agent.listeners.register()));
    let session = (lasts(command) && way.is_some()).then(|| format!("{:032x}", rand::random::<u128>()));
    let listener = ssh_agent.as_ref().map(Connections::listener);
    let display = x11.as_ref().map(|(x11, connections)| (x11.clone(), connections.listener()));
    let request = json(&request(command, listener, display, session.clone()));
    if request.len() > MAX_PAYLOAD {
        return Err(Error::CommandTooLong);
    }
    let mut stream = agent.carrier.open(request);
    if command.terminal.is_some() {
        stream.sender.mark_terminal();
    }
    answered(&command.program, &agent.carrier, &mut stream.receiver).await?;
    let (stdin, data) = mpsc::channel(CHUNKS);
    let (size, sizes) = watch::channel(None);
    let (signals, sent) = mpsc::channel(CHUNKS);
    let (output, outputs) = mpsc::channel(CHUNKS);
    let redraw = Arc::<Notify>::default();
    let comeback = session.zip(command.terminal.clone()).zip(way).map(|((session, terminal), way)| {
        let x11 = x11.as_ref().map(|(x11, connections)| (x11.clone(), connections.door()));
        Comeback::new(way, session, command, terminal, ssh_agent.as_ref().map(Connections::door), x11)
    });
    let input = Input { stdin: data, sizes, signals: sent, redraw: redraw.clone() };
    let outages = Outages::of(agent.broken_since.clone());
    tokio::spawn(serve(stream, input, output, outages, words.clone(), comeback));
    let x11 = x11.map(|(_, connections)| connections);
    let redraw = match lasts(command) {
        true => Redraw::ByAgent(redraw),
        false => Redraw::ByProgram(redraw),
    };
    let redraw = command.terminal.is_some().then_some(redraw);
    Ok(Process { stdin, size, output: outputs, signals: Some(signals), redraw, ssh_agent, x11 })
}

/// What a session has for its program.
struct Input {
    stdin: mpsc::Receiver<Bytes>,
    sizes: watch::Receiver<Option<TerminalSize>>,
    signals: mpsc::Receiver<String>,
    redraw: Arc<Notify>,
}

/// Serves a program, by one stream after the other if it is a shell that lasts, until it has ended or nobody listens.
async fn serve(
    mut stream: Stream,
    mut input: Input,
    output: mpsc::Sender<Output>,
    mut outages: Outages,
    words: Words,
    mut comeback: Option<Comeback>,
) {
    loop {
        let Stream { sender, receiver } = stream;
        let stop = CancellationToken::new();
        let upward = AbortOnDropHandle::new(tokio::spawn(upward(sender, input, stop.clone())));
        if downward(receiver, outages, &words, &output).await == Ended::Heard {
            return;
        }
        stop.cancel();
        let (Ok(kept), Some(comeback)) = (upward.await, &mut comeback) else {
            let error = Error::Lost("the pod's agent is gone, or could not be reached again".into());
            let _ = output.send(Output::Failed(error)).await;
            return;
        };
        input = kept;
        let size = *input.sizes.borrow();
        let Some(back) = comeback.wait(size, &mut input.stdin, &output).await else { return };
        match back {
            Ok(back) => (stream, outages) = back,
            Err(error) => {
                let _ = output.send(Output::Failed(error)).await;
                return;
            }
        }
    }
}

/// Sends what there is, until it is to stop.
async fn upward(sender: Sender, mut input: Input, stop: CancellationToken) -> Input {
    stop.run_until_cancelled(send(sender, &mut input)).await;
    input
}

async fn send(sender: Sender, input: &mut Input) {
    let Input { stdin, sizes, signals, redraw } = input;
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
                let _ = sender.send(Message::control(&Order::Resize(new)));
            }
        }
    };
    let signal = async {
        while let Some(name) = signals.recv().await {
            let _ = sender.send(Message::control(&Order::Signal(name)));
        }
    };
    let draw = async {
        loop {
            redraw.notified().await;
            if sender.send(Message::control(&Order::Redraw)).is_err() {
                return;
            }
        }
    };
    tokio::join!(feed, resize, signal, draw);
    std::future::pending::<()>().await; // The stream lasts as long as the program.
}

/// Why nothing more comes from a stream.
#[derive(PartialEq)]
enum Ended {
    /// The program's end was told, or nobody listens any more.
    Heard,
    Lost,
}

async fn downward(mut receiver: Receiver, mut outages: Outages, words: &Words, output: &mpsc::Sender<Output>) -> Ended {
    loop {
        let received = tokio::select! {
            biased;
            received = receiver.receive() => received,
            news = outages.next() => {
                let _ = output.send(news).await;
                continue;
            }
            () = output.closed() => return Ended::Heard,
        };
        let Some((message, _credit)) = received else { return Ended::Lost };
        let passed = match message {
            Message::Data(data) => output.send(Output::Stdout(data)).await,
            Message::Stderr(data) => output.send(Output::Stderr(data)).await,
            Message::Eof => output.send(Output::Eof).await,
            Message::Control(news) => {
                let end = match parse(&news) {
                    Ok(Response::OutOfMemory(told)) => {
                        let _ = output.send(Output::Notice(words.say(told))).await;
                        continue;
                    }
                    Ok(Response::Notice(text)) => {
                        let _ = output.send(Output::Notice(text)).await;
                        continue;
                    }
                    Ok(Response::Ended(exit)) => {
                        let _ = output.send(Output::Ended(exit)).await;
                        continue;
                    }
                    Ok(Response::Exited(exit)) => Output::Exit(exit),
                    _ => Output::Failed(Error::Protocol("news of a program that cannot be")),
                };
                // The end may be the first that is heard after an interruption.
                if outages.told {
                    let _ = output.send(Output::Resumed).await;
                }
                let _ = output.send(end).await;
                return Ended::Heard;
            }
            _ => Ok(()),
        };
        if passed.is_err() {
            return Ended::Heard;
        }
    }
}
