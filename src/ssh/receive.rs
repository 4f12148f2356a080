//! What a client sends on a session channel while its program runs.

use std::sync::Arc;

use russh::{ChannelMsg, ChannelReadHalf};
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::events::Events;
use super::inbox::Inbox;
use super::request::terminal_size;
use super::signal;
use crate::workspace::TerminalSize;

const CTRL_C: u8 = 3;

/// What a client has for its program.
pub(super) struct ToProgram {
    pub(super) inbox: Arc<Inbox>,
    pub(super) size: watch::Sender<Option<TerminalSize>>,
    pub(super) signal: mpsc::Sender<String>,
    pub(super) takes_signals: bool,
}

/// Takes what the client sends until it closes, which has to be heard of whatever else happens. Never waits for the
/// program.
pub(super) async fn receive(mut reader: ChannelReadHalf, program: ToProgram, events: Arc<Events>, terminal: bool) {
    let ToProgram { inbox, size, signal, takes_signals } = program;
    loop {
        match reader.wait().await {
            Some(ChannelMsg::Data { data }) => {
                if terminal && data.contains(&CTRL_C) {
                    events.interrupted.notify_one();
                }
                events.keep(data, &inbox).await;
            }
            Some(ChannelMsg::Eof) => inbox.put_eof(),
            Some(ChannelMsg::WindowChange { col_width, row_height, .. }) => {
                size.send_replace(Some(terminal_size(col_width, row_height)));
            }
            // What the program has not been told yet is enough.
            Some(ChannelMsg::Signal { signal: name }) if takes_signals => {
                drop(signal::text(name).map(|name| signal.try_send(name)))
            }
            Some(ChannelMsg::Close) | None => {
                events.closed.cancel();
                return;
            }
            Some(other) => debug!(?other, "ignored while a program runs"),
        }
    }
}
