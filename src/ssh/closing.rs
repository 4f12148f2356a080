//! Who closes a channel first. russh keeps something of each channel that the server closed before its client did,
//! until the connection ends: some KiB, which nothing else counts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Where nothing more comes from either side, OpenSSH closes what it forwards by itself, after one way to it and back.
/// It waits for the server where it has a session, or runs as `ssh -W`, so this is also how much later that ends.
const CLIENTS_TURN: Duration = Duration::from_millis(250);
/// Channels of one connection that the server may have closed first: some 50 MiB.
const MAX_CLOSED_FIRST: u32 = 16_384;

/// The closed channels of one connection.
#[derive(Default)]
pub(super) struct Closing {
    closed_first: AtomicU32,
    worn_out: CancellationToken,
}

impl Closing {
    /// Closes a channel that runs nothing any more. Where it is the client's turn to do so it is waited for.
    pub(super) async fn close(
        &self,
        half: &ChannelWriteHalf<Msg>,
        closed_by_client: &CancellationToken,
        clients_turn: bool,
    ) {
        if !self.left_to_client(closed_by_client, clients_turn).await {
            let _ = half.close().await;
        }
    }

    /// Whether the client closed it; counted if not.
    async fn left_to_client(&self, closed_by_client: &CancellationToken, clients_turn: bool) -> bool {
        if clients_turn {
            let _ = timeout(CLIENTS_TURN, closed_by_client.cancelled()).await;
        }
        let left = closed_by_client.is_cancelled();
        if !left {
            self.count();
        }
        left
    }

    /// Counts a channel that the server closes first.
    fn count(&self) {
        if self.closed_first.fetch_add(1, Ordering::Relaxed) + 1 == MAX_CLOSED_FIRST {
            info!(channels = MAX_CLOSED_FIRST, "a connection has had so many channels that it gets no more, and ends");
            self.worn_out.cancel();
        }
    }

    /// Whether it may have no new channels.
    pub(super) fn is_worn_out(&self) -> bool {
        self.worn_out.is_cancelled()
    }

    /// Waits until it may have no new channels.
    pub(super) async fn worn_out(&self) {
        self.worn_out.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_the_server_closes_first_wears_a_connection_out() {
        let (closing, closed, open) = (Closing::default(), CancellationToken::new(), CancellationToken::new());
        closed.cancel();
        for _ in 0..2 * MAX_CLOSED_FIRST {
            assert!(closing.left_to_client(&closed, false).await);
        }
        for _ in 1..MAX_CLOSED_FIRST {
            assert!(!closing.left_to_client(&open, false).await);
        }
        assert!(!closing.is_worn_out());
        closing.count();
        assert!(closing.is_worn_out());
    }

    #[tokio::test]
    async fn a_client_whose_turn_it_is_may_close_by_itself() {
        let (closing, closed) = (Closing::default(), CancellationToken::new());
        let close = async { closed.cancel() };
        let (left, ()) = tokio::join!(closing.left_to_client(&closed, true), close);
        assert!(left && closing.closed_first.load(Ordering::Relaxed) == 0);
    }
}
