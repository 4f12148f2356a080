//! From the stream to the program: stdin, sizes, signals.

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc};

use super::super::activity;
use super::super::request::Order;
use super::answers::Answers;
use super::start::{Held, Stdin};
use crate::carrier::{Credit, Message, Receiver, parse};

/// Returns when the other side has ended the stream. Orders pass stdin that the program does not read.
pub(super) async fn feed(mut receiver: Receiver, stdin: Stdin, held: &Held, group: Pid, redraw: &Notify) {
    // Bounded by the stream's window: credit is given back as the program reads.
    let (data, waiting) = mpsc::unbounded_channel();
    let mut data = Some(data);
    let mut answers = Answers::default();
    let write = write(stdin, waiting);
    let receive = async {
        while let Some((message, credit)) = receiver.receive().await {
            match message {
                Message::Data(bytes) => {
                    match held {
                        Held::Pipes(_) => activity::sent(bytes.len()),
                        Held::Terminal(_) => match answers.take_from(&bytes).len() {
                            0 => {}
                            typed => activity::typed(typed),
                        },
                    }
                    if let Some(data) = &data {
                        let _ = data.send((bytes, credit));
                    }
                }
                // On a terminal the end of the client's input is the client's affair; sshd does nothing either.
                Message::Eof if matches!(held, Held::Pipes(_)) => data = None,
                Message::Control(order) => match parse(&order) {
                    Ok(Order::Resize(size)) => {
                        if let Held::Terminal(terminal) = held {
                            let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
                            let _ = tcsetwinsize(terminal, size);
                        }
                    }
                    Ok(Order::Signal(name)) => {
                        if let Some(signal) = signal(&name) {
                            let _ = kill_process_group(group, signal);
                        }
                    }
                    Ok(Order::Redraw) => redraw.notify_one(),
                    Err(_) => {}
                },
                _ => {}
            }
        }
    };
    tokio::pin!(write);
    tokio::pin!(receive);
    tokio::select! {
        () = &mut receive => {}
        () = &mut write => receive.await,
    }
}

async fn write(mut stdin: Stdin, mut waiting: mpsc::UnboundedReceiver<(Bytes, Credit)>) {
    while let Some((bytes, _credit)) = waiting.recv().await {
        let written = match &mut stdin {
            Stdin::Pipe(pipe) => pipe.write_all(&bytes).await,
            Stdin::Terminal(pty) => pty.write_all(&bytes).await,
        };
        if written.is_err() {
            break; // It takes no more: the rest is thrown away.
        }
    }
    // What comes now is credited at once, or the stream's other messages would wait behind it.
    let is_pipe = matches!(stdin, Stdin::Pipe(_));
    if is_pipe {
        drop(stdin);
        while waiting.recv().await.is_some() {}
    } else {
        while waiting.recv().await.is_some() {}
        std::future::pending::<()>().await; // Closed, the terminal would hang up.
    }
}

pub(super) fn signal(name: &str) -> Option<Signal> {
    Some(match name {
        "ABRT" => Signal::ABORT,
        "ALRM" => Signal::ALARM,
        "FPE" => Signal::FPE,
        "HUP" => Signal::HUP,
        "ILL" => Signal::ILL,
        "INT" => Signal::INT,
        "KILL" => Signal::KILL,
        "PIPE" => Signal::PIPE,
        "QUIT" => Signal::QUIT,
        "SEGV" => Signal::SEGV,
        "TERM" => Signal::TERM,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        _ => return None,
    })
}
