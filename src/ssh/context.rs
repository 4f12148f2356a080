//! What all connections share, and how they hear of the end.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::allowance::Allowances;
use super::authority::Authority;
use super::penalties::Penalties;
use super::{Answer, Authenticate, Config, Run};

/// What all connections share.
pub(super) struct Context {
    pub(super) config: Config,
    pub(super) authenticate: Arc<dyn Authenticate>,
    pub(super) run: Arc<dyn Run>,
    pub(super) answer: Arc<dyn Answer>,
    pub(super) authority: Arc<Authority>,
    pub(super) penalties: Penalties,
    pub(super) allowances: Allowances,
    pub(super) drain: Drain,
    /// Sessions of all connections.
    pub(super) tasks: TaskTracker,
}

/// The end of service, as connections see it.
#[derive(Clone)]
pub(super) struct Drain {
    begun: CancellationToken,
    timeout: Duration,
}

impl Drain {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { begun: CancellationToken::new(), timeout }
    }

    pub(super) fn begin(&self) {
        self.begun.cancel();
    }

    pub(super) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    pub(super) fn notice(&self) -> String {
        format!(
            "this server is shutting down: finish within {} s, then log in again (another replica will answer)",
            self.timeout.as_secs()
        )
    }
}
