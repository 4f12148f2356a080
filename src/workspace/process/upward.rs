//! From the session to the pod: stdin, sizes, and what keeps the stream alive.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use futures::stream::SplitSink;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::{self, protocol::Message};
use tracing::debug;

use super::super::exec::{self, ExecStream, MAX_PAYLOAD};
use super::{ExecKeepalive, State, TerminalSize};
use crate::telemetry::chain;

pub(super) struct Upward {
    pub(super) sink: SplitSink<ExecStream, Message>,
    pub(super) stdin: mpsc::Receiver<Bytes>,
    pub(super) size: watch::Receiver<Option<TerminalSize>>,
    pub(super) state: Arc<State>,
    pub(super) keepalive: ExecKeepalive,
}

impl Upward {
    pub(super) async fn run(mut self, preamble: Option<Bytes>) {
        if let Err(error) = self.serve(preamble).await {
            debug!(error = chain(&error), "the exec takes no more input");
        }
    }

    async fn serve(&mut self, preamble: Option<Bytes>) -> Result<(), tungstenite::Error> {
        self.send_size().await?; // run.sh's stty may be missing in the image.
        if let Some(preamble) = preamble {
            self.feed_stdin(&preamble).await?;
            self.sink.flush().await?;
        }
        let mut open = true;
        let mut resizable = true;
        // Stdin that nobody reads holds up the server's loop, pongs included: silence tells nothing until a pong has
        // told that the loop got past all that was sent.
        let mut unread = true;
        let mut sent_since_ping = false;
        let mut missed = 0;
        let mut ping = ticker(self.keepalive.ping);
        let mut no_op = ticker(self.keepalive.data);
        loop {
            tokio::select! {
                changed = self.size.changed(), if resizable => {
                    resizable = changed.is_ok();
                    self.send_size().await?;
                    tokio::time::sleep(RESIZE_INTERVAL).await;
                }
                data = self.stdin.recv(), if open => match data {
                    Some(data) => {
                        (unread, sent_since_ping) = (true, true);
                        self.feed_stdin(&data).await?;
                        // What came meanwhile goes with it: fewer and larger writes.
                        while let Ok(more) = self.stdin.try_recv() {
                            self.feed_stdin(&more).await?;
                        }
                        self.sink.flush().await?;
                        no_op.reset();
                    }
                    None => {
                        open = false;
                        self.sink.send(exec::close_stdin()).await?;
                    }
                },
                () = self.state.ended.notified(), if open => {
                    open = false;
                    self.sink.send(exec::close_stdin()).await?;
                }
                _ = no_op.tick() => self.send_nothing().await?,
                _ = ping.tick() => {
                    if self.state.ponged.swap(false, Ordering::Relaxed) {
                        unread = sent_since_ping;
                    }
                    let held_up = self.state.held_up.load(Ordering::Relaxed);
                    let silent = !self.state.alive.swap(false, Ordering::Relaxed) && !unread && !held_up;
                    missed = if silent { missed + 1 } else { 0 };
                    if missed > 3 {
                        self.state.lost.notify_one();
                        return Ok(());
                    }
                    if !held_up {
                        self.sink.send(Message::Ping(Bytes::new())).await?;
                        sent_since_ping = false;
                    }
                }
            }
        }
    }

    /// Needs a flush after.
    async fn feed_stdin(&mut self, data: &[u8]) -> Result<(), tungstenite::Error> {
        for payload in data.chunks(MAX_PAYLOAD) {
            self.sink.feed(exec::stdin(payload)).await?;
        }
        Ok(())
    }

    /// Data without meaning: the terminal's size once more, or what the other side throws away.
    async fn send_nothing(&mut self) -> Result<(), tungstenite::Error> {
        let terminal = self.size.borrow().is_some();
        if terminal { self.send_size().await } else { self.sink.send(exec::no_op()).await }
    }

    async fn send_size(&mut self) -> Result<(), tungstenite::Error> {
        let size = *self.size.borrow_and_update();
        match size {
            Some(size) => self.sink.send(exec::resize(size)).await,
            None => Ok(()),
        }
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = tokio::time::interval_at(Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Between two sizes of a terminal that is being dragged.
const RESIZE_INTERVAL: Duration = Duration::from_millis(30);
