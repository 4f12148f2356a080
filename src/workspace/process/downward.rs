//! From the pod to the session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use futures::stream::SplitStream;
use tokio::sync::mpsc;

use super::super::exec::{self, ExecStream, Frame};
use super::super::marker::Marker;
use super::super::{Error, Exit};
use super::{Output, State, closed};

pub(super) struct Downward {
    pub(super) stream: SplitStream<ExecStream>,
    pub(super) output: mpsc::Sender<Output>,
    /// The line that ends stderr, where stdio is apart.
    pub(super) marker: Option<Marker>,
    pub(super) state: Arc<State>,
}

impl Downward {
    /// Returns whether the program is known to have ended.
    pub(super) async fn run(mut self, early: Vec<Output>) -> bool {
        for output in early {
            if !self.pass(output).await {
                return false;
            }
        }
        loop {
            let message = tokio::select! {
                message = self.stream.next() => message,
                () = self.output.closed() => return false,
                () = self.state.lost.notified() => {
                    let error = Error::Lost("no answer from the pod's node".into());
                    let _ = self.output.send(Output::Failed(error)).await;
                    return false;
                }
            };
            self.state.alive.store(true, Ordering::Relaxed);
            let frame = match message {
                Some(Ok(message)) => Frame::parse(message),
                Some(Err(error)) => Err(Error::Lost(Box::new(error))),
                None => Err(closed()),
            };
            let output = match frame {
                Ok(Frame::Stdout(data)) => Output::Stdout(data),
                Ok(Frame::Stderr(data)) => Output::Stderr(data),
                Ok(Frame::Status(status)) => {
                    let rest = self.marker.as_mut().map(Marker::rest).unwrap_or_default();
                    self.pass(Output::Stderr(rest)).await;
                    let exit = match exec::exit_code(&status) {
                        Ok(code) => Output::Exit(Exit::Code(code)),
                        Err(error) => Output::Failed(error),
                    };
                    let _ = self.output.send(exit).await;
                    return true;
                }
                Ok(Frame::Pong) => {
                    self.state.ponged.store(true, Ordering::Relaxed);
                    continue;
                }
                Ok(Frame::Other) => continue,
                Err(error) => {
                    let _ = self.output.send(Output::Failed(error)).await;
                    return false;
                }
            };
            if !self.pass(output).await {
                return false;
            }
        }
    }

    /// Hands `output` on, without run.sh's own last line. Returns whether somebody took it.
    async fn pass(&mut self, mut output: Output) -> bool {
        if let (Output::Stderr(data), Some(marker)) = (&mut output, &mut self.marker) {
            let before = marker.found();
            *data = marker.pass(std::mem::take(data));
            if marker.found() && !before {
                self.state.ended.notify_one();
            }
        }
        if matches!(&output, Output::Stdout(data) | Output::Stderr(data) if data.is_empty()) {
            return true;
        }
        self.state.held_up.store(true, Ordering::Relaxed);
        let taken = self.output.send(output).await.is_ok();
        self.state.held_up.store(false, Ordering::Relaxed);
        taken
    }
}
