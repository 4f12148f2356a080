//! Whoever is logged in on a connection: what each channel of it is served for.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::allowance::Allowance;
use super::client::{Slot, Slots};
use super::context::Context;
use super::inbox::Inbox;
use super::standing::Standing;
use super::throttle::Throttle;
use crate::identity::Identity;
use crate::workspace::Target;

/// Who is logged in on one connection, where to, and what she may have open there.
#[derive(Clone)]
pub(super) struct LoggedIn {
    pub(super) context: Arc<Context>,
    pub(super) throttle: Arc<Throttle>,
    pub(super) identity: Identity,
    pub(super) target: Target,
    pub(super) slots: Slots,
    /// What she may have open in all.
    pub(super) allowance: Arc<Allowance>,
    /// Whether she may stay.
    pub(super) standing: Standing,
    /// Cancelled once the connection is over.
    pub(super) over: CancellationToken,
}

impl LoggedIn {
    /// From now on what it does is for another DevServer, for as long as she may be there.
    pub(super) fn turn_to(&mut self, target: Target) -> AbortOnDropHandle<()> {
        let (context, identity, there) = (self.context.clone(), self.identity.clone(), target.clone());
        let withdrawn = async move { context.run.withdrawn(&identity, &there).await };
        let (standing, watching) = self.standing.within(withdrawn);
        (self.target, self.standing) = (target, standing);
        watching
    }

    /// Room for one more forwarded connection, if there is.
    pub(super) fn slot(&self) -> Option<Slot> {
        self.slots.forward(&self.allowance)
    }

    /// Room for one more session.
    pub(super) fn session_slot(&self) -> Option<Slot> {
        self.slots.session(&self.allowance)
    }

    pub(super) fn inbox(&self) -> Inbox {
        Inbox::new(self.throttle.clone(), self.context.config.spool_directory.clone())
    }
}
