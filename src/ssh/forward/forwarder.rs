//! Connections that the client opens into the pod (`-L`, `-D`, `-W`).

use std::sync::Arc;

use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use super::copy;
use crate::identity::Identity;
use crate::ssh::client::Slots;
use crate::ssh::context::Context;
use crate::ssh::inbox::Inbox;
use crate::ssh::standing::Standing;
use crate::ssh::throttle::Throttle;
use crate::telemetry::chain;
use crate::workspace::{Address, Target};

/// Forwards for whoever logged in on one connection.
#[derive(Clone)]
pub(in crate::ssh) struct Forwarder {
    pub(in crate::ssh) context: Arc<Context>,
    pub(in crate::ssh) throttle: Arc<Throttle>,
    pub(in crate::ssh) identity: Identity,
    pub(in crate::ssh) target: Target,
    pub(in crate::ssh) slots: Slots,
    /// Whether she may stay.
    pub(in crate::ssh) standing: Standing,
}

impl Forwarder {
    /// Connects `channel`, which is admitted, to `address`, as seen from the pod of `target`.
    pub(in crate::ssh) async fn connect(
        self,
        target: &Target,
        address: &Address,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let Some(_slot) = self.slot() else {
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
                copy(channel, stream, self.inbox(), leave).await;
            }
            Err(error) => {
                debug!(error = chain(&error), ?address, "a forwarded connection was not made");
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        }
    }

    /// From now on what it does is for another DevServer, for as long as she may be there.
    pub(in crate::ssh) fn turn_to(&mut self, target: Target) -> AbortOnDropHandle<()> {
        let (context, identity, there) = (self.context.clone(), self.identity.clone(), target.clone());
        let withdrawn = async move { context.run.withdrawn(&identity, &there).await };
        let (standing, watching) = self.standing.within(withdrawn);
        (self.target, self.standing) = (target, standing);
        watching
    }

    pub(in crate::ssh) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.forwards.clone().try_acquire_owned().ok()
    }

    pub(in crate::ssh) fn inbox(&self) -> Inbox {
        Inbox::new(self.throttle.clone(), self.context.config.spool_directory.clone())
    }
}
