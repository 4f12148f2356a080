//! From the stream to the program: stdin, sizes, signals.

use std::array::from_fn;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use super::super::activity;
use super::super::hang_up;
use super::super::request::Order;
use super::answers::Answers;
use super::start::{Held, Stdin};
use crate::carrier::{Credit, Message, Receiver, parse};

/// Pieces that are written at once: several large ones fit into a program's pipe, and each call wakes it.
const GATHERED: usize = 8;

/// Returns when the other side has ended the stream. Orders pass stdin that the program does not read.
pub(super) async fn feed(
    mut receiver: Receiver,
    stdin: Stdin,
    held: &Held,
    group: Pid,
    is_buried: &AtomicBool,
    redraw: &Notify,
) {
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
                            send(signal, held, group, is_buried.load(Ordering::Relaxed)).await;
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

/// Sends it to the program's group, which keeps its number until its leader is buried.
async fn send(signal: Signal, held: &Held, group: Pid, is_buried: bool) {
    match held {
        _ if !is_buried => drop(kill_process_group(group, signal)),
        Held::Pipes(pipes) => hang_up::signal_holders(group, pipes, signal).await,
        Held::Terminal(_) => {} // Its last words are read, and it is over.
    }
}

async fn write(mut stdin: Stdin, mut waiting: mpsc::UnboundedReceiver<(Bytes, Credit)>) {
    let mut pieces = Vec::with_capacity(GATHERED);
    while waiting.recv_many(&mut pieces, GATHERED).await > 0 {
        let written = match &mut stdin {
            Stdin::Pipe(pipe) => write_all(pipe, &mut pieces).await,
            Stdin::Terminal(pty) => write_all(pty, &mut pieces).await,
        };
        if written.is_err() {
            break; // It takes no more: the rest is thrown away.
        }
    }
    drop(pieces);
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

/// Writes all pieces, as many at once as are taken, and lets go of each as soon as it is written.
async fn write_all<T>(sink: &mut (impl AsyncWrite + Unpin), pieces: &mut Vec<(Bytes, T)>) -> io::Result<()> {
    loop {
        pieces.retain(|(bytes, _)| !bytes.is_empty());
        if pieces.is_empty() {
            return Ok(());
        }
        let slices: [_; GATHERED] = from_fn(|at| IoSlice::new(pieces.get(at).map_or(&[][..], |(bytes, _)| &bytes[..])));
        let mut written = sink.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        for (bytes, _) in &mut *pieces {
            let taken = written.min(bytes.len());
            bytes.advance(taken);
            written -= taken;
        }
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    /// Takes so much at a time.
    struct Sink {
        takes: usize,
        calls: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = all.len().min(self.takes);
            self.taken.extend_from_slice(&all[..taken]);
            self.calls += 1;
            Poll::Ready(Ok(taken))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_waits_is_written_at_once_and_in_order_however_little_is_taken() {
        for (takes, calls) in [(100, 1), (5, 2), (3, 4), (1, 10)] {
            let mut pieces: Vec<_> = ["abc", "", "defg", "hij"].map(|piece| (Bytes::from(piece), ())).into();
            let mut sink = Sink { takes, calls: 0, taken: Vec::new() };
            write_all(&mut sink, &mut pieces).await.unwrap();
            assert_eq!((sink.taken.as_slice(), sink.calls), (&b"abcdefghij"[..], calls));
            assert!(pieces.is_empty());
        }
        let mut sink = Sink { takes: 0, calls: 0, taken: Vec::new() };
        assert!(write_all(&mut sink, &mut vec![(Bytes::from_static(b"a"), ())]).await.is_err());
    }
}
