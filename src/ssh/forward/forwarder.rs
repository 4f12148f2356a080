//! Connections that the client opens into the pod (`-L`, `-D`, `-W`).

use std::sync::Arc;

use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info};

use super::copy;
use crate::identity::Identity;
use crate::ssh::context::Context;
use crate::ssh::inbox::Inbox;
use crate::ssh::throttle::Throttle;
use crate::workspace::{Address, Target};

/// Forwards for whoever logged in on one connection.
#[derive(Clone)]
pub(in crate::ssh) struct Forwarder {
    pub(in crate::ssh) context: Arc<Context>,
    pub(in crate::ssh) throttle: Arc<Throttle>,
    pub(in crate::ssh) identity: Identity,
    pub(in crate::ssh) target: Target,
    /// One permit for each connection that may yet be forwarded.
    pub(in crate::ssh) slots: Arc<Semaphore>,
}

impl Forwarder {
    /// Whether she may, by her key and by the configuration.
    pub(in crate::ssh) fn permitted(&self) -> bool {
        self.context.config.allow_port_forwarding && self.identity.permissions().port_forwarding
    }

    /// As [`Self::permitted`], for one that is asked for: the log tells why not.
    pub(in crate::ssh) fn admit(&self) -> bool {
        self.log_refusal(self.permitted(), self.context.config.allow_port_forwarding, "connections")
    }

    /// Whether programs may use her ssh-agent.
    pub(in crate::ssh) fn permits_ssh_agent(&self) -> bool {
        self.context.config.allow_agent_forwarding && self.identity.permissions().agent_forwarding
    }

    /// As [`Self::permits_ssh_agent`], with a word in the log if not.
    pub(in crate::ssh) fn admit_ssh_agent(&self) -> bool {
        self.log_refusal(self.permits_ssh_agent(), self.context.config.allow_agent_forwarding, "the ssh-agent")
    }

    fn log_refusal(&self, permitted: bool, allowed: bool, what: &str) -> bool {
        if !permitted {
            info!(user = self.identity.user(), by = refused_by(allowed), "refused to forward {what}");
        }
        permitted
    }

    /// Whether programs may use her display.
    pub(in crate::ssh) fn permits_x11(&self) -> bool {
        self.context.config.allow_x11_forwarding && self.identity.permissions().x11_forwarding
    }

    /// As [`Self::permits_x11`], with a word in the log if not.
    pub(in crate::ssh) fn admit_x11(&self) -> bool {
        self.log_refusal(self.permits_x11(), self.context.config.allow_x11_forwarding, "the display")
    }

    /// Connects `channel` to `address`, as seen from the pod of `target`.
    pub(in crate::ssh) async fn connect(
        self,
        target: &Target,
        address: &Address,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        if !self.admit() {
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
        let Some(_slot) = self.slot() else {
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        };
        match self.context.run.connect(&self.identity, target, address).await {
            Ok(stream) => {
                reply.accept().await;
                copy(channel, stream, self.inbox()).await;
            }
            Err(error) => {
                debug!(error = &error as &dyn std::error::Error, ?address, "a forwarded connection was not made");
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        }
    }

    pub(in crate::ssh) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }

    pub(in crate::ssh) fn inbox(&self) -> Inbox {
        Inbox::new(self.throttle.clone(), self.context.config.spool_directory.clone())
    }
}

/// What says no, where the configuration does or does not.
fn refused_by(allowed_by_configuration: bool) -> &'static str {
    match allowed_by_configuration {
        true => "the user's object, or options of her key or certificate",
        false => "the configuration",
    }
}
