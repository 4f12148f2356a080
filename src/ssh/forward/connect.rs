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
        let user = self.identity.user();
        let Some(slot) = self.slot() else {
            info!(user, "refused a forward: its user or connection has or had too many channels open");
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
            // A pod may take minutes to start, and nobody waits for it any more. Before it is answered a client cannot
            // close the channel.
            () = self.over.cancelled() => return,
        };
        match connected {
            Ok(stream) => {
                debug!(user, ?address, "forwarding a connection");
                reply.accept().await;
                copy(channel, stream, &self, slot, leave).await;
            }
            Err(error) => {
                debug!(user, error = chain(&error), ?address, "a forwarded connection was not made");
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        }
    }
}
