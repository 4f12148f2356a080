//! Connections that the client opens into the pod (`-L`, `-D`, `-W`).

use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure};
use tracing::{debug, info};

use super::copy;
use crate::ssh::logged_in::LoggedIn;
use crate::telemetry::chain;
use crate::workspace::{Address, Target};

impl LoggedIn {
    /// Connects `channel`, which is admitted, to `address`, as seen from the pod of `target`.
    pub(in crate::ssh) async fn connect(
        self,
        target: &Target,
        address: &Address,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let Some(slot) = self.slot() else {
            info!("refused a forward: its user or connection has or had too many channels open");
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        };
        // From before she is let in there, or one who is turned out meanwhile would stay.
        let withdrawn = self.context.run.withdrawn(&self.identity, target);
        let leave = async {
            let why = tokio::select! {
                why = withdrawn => why,
                why = self.standing.ended() => why.to_owned(),
            };
            info!(why, "ended a forward");
        };
        tokio::pin!(leave);
        let connected = tokio::select! {
            connected = self.context.run.connect(&self.identity, target, address) => connected,
            () = &mut leave => return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await,
        };
        match connected {
            Ok(stream) => {
                reply.accept().await;
                copy(channel, stream, &self, slot, leave).await;
            }
            Err(error) => {
                debug!(error = chain(&error), ?address, "a forwarded connection was not made");
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        }
    }
}
