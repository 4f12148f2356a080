//! What happens to a channel, as its tasks tell each other.

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::inbox::Inbox;
use crate::telemetry::chain;

/// What the client's side of the channel does, apart from sending bytes.
#[derive(Default)]
pub(super) struct Events {
    /// The client closed the channel or is gone, or the session has ended.
    pub(super) closed: CancellationToken,
    /// Ctrl-C was typed.
    pub(super) interrupted: Notify,
    /// The client's input could not be kept.
    pub(super) overflowed: CancellationToken,
}

impl Events {
    /// Keeps in `inbox` what the client sent, until something of it cannot be kept: after a gap the rest is of no use.
    pub(super) async fn keep(&self, data: Bytes, inbox: &Inbox) {
        if self.overflowed.is_cancelled() {
            return;
        }
        if let Err(error) = inbox.put(data).await {
            info!(error = chain(&error), "the client's input cannot be kept");
            self.overflowed.cancel();
        }
    }
}
