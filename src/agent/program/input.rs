//! From the stream to the program: stdin, sizes, signals.

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc, watch};

use super::super::activity;
use super::super::request::{Order, Size};
use super::start::Stdin;
use crate::carrier::{Credit, Message, Receiver, parse};

/// Returns when the other side has ended the stream. Orders pass stdin that the program does not read.
pub(super) async fn feed(mut receiver: Receiver, stdin: Stdin, terminal: bool, group: Pid, redraw: &Notify) {
    // Bounded by the stream's window: credit is given back as the program reads.
    let (data, waiting) = mpsc::unbounded_channel();
    let mut data = Some(data);
    let (size, sizes) = watch::channel(None);
    let write = write(stdin, waiting, sizes);
    let receive = async {
        while let Some((message, credit)) = receiver.receive().await {
            match message {
                Message::Data(bytes) => {
                    if terminal {
                        activity::typed(bytes.len())
                    } else {
                        activity::sent(bytes.len())
                    }
                    if let Some(data) = &data {
                        let _ = data.send((bytes, credit));
                    }
                }
                // On a terminal the end of the client's input is the client's affair; sshd does nothing either.
                Message::Eof if !terminal => data = None,
                Message::Control(order) => match parse(&order) {
                    Ok(Order::Resize(new)) => {
                        size.send_replace(Some(new));
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

async fn write(
    mut stdin: Stdin,
    mut waiting: mpsc::UnboundedReceiver<(Bytes, Credit)>,
    mut sizes: watch::Receiver<Option<Size>>,
) {
    loop {
        let (bytes, _credit) = tokio::select! {
            biased;
            Ok(()) = sizes.changed() => {
                let size = *sizes.borrow_and_update();
                if let (Stdin::Terminal(pty), Some(size)) = (&stdin, size) {
                    let _ = pty.resize(pty_process::Size::new(size.rows, size.columns));
                }
                continue;
            }
            data = waiting.recv() => match data {
                Some(data) => data,
                None => break,
            },
        };
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
