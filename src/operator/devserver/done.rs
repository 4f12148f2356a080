//! What reconciling a DevServer came to.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::fetch::Seen;
use super::refusal::Refusal;
use super::step::Step;

/// The status tells about it.
pub(super) struct Done {
    pub(super) pod: Option<Arc<Pod>>,
    pub(super) claim: Option<Arc<PersistentVolumeClaim>>,
    pub(super) step: Step,
    pub(super) refusal: Option<Refusal>,
    /// What of the wishes cannot be had although the pod runs.
    pub(super) note: Option<String>,
    /// When to look again although nothing changes.
    pub(super) look_again: Option<Duration>,
}

impl Done {
    /// There is nothing to apply, only something to tell.
    pub(super) fn nothing(seen: Seen) -> Self {
        Self { pod: seen.pod, claim: seen.claim, step: Step::Keep, refusal: None, note: None, look_again: None }
    }

    /// It is asked for again after `pause`.
    pub(super) fn refused(mut self, refusal: Refusal, pause: Duration) -> Self {
        self.look_again = Some(pause);
        self.refusal = Some(refusal);
        self
    }
}

/// Why it could not be done. A refusal is no error: it is told in the status.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("failed to apply the home's claim")]
    Claim(#[source] Box<kube::Error>),
    #[error("failed to create the pod")]
    CreatePod(#[source] Box<kube::Error>),
    #[error("failed to look whether the DevServer is gone")]
    LookUp(#[source] Box<kube::Error>),
    #[error("failed to delete the pod")]
    DeletePod(#[source] Box<kube::Error>),
    #[error("failed to change who else may enter the pod")]
    Guests(#[source] Box<kube::Error>),
    #[error("failed to look whether the startup script failed")]
    Events(#[source] Box<kube::Error>),
    #[error("failed to suspend the DevServer")]
    Suspend(#[source] Box<kube::Error>),
    #[error("failed to write the DevServer's status")]
    Status(#[source] Box<kube::Error>),
}

impl Error {
    /// Whether it is a "no" that a moment does not help.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.cause(), kube::Error::Api(status) if matches!(status.code, 400..=428))
    }

    /// In the API server's words, where it said anything.
    pub(super) fn said(&self) -> String {
        match self.cause() {
            kube::Error::Api(status) => status.message.clone(),
            error => error.to_string(),
        }
    }

    fn cause(&self) -> &kube::Error {
        match self {
            Self::Claim(cause)
            | Self::CreatePod(cause)
            | Self::LookUp(cause)
            | Self::DeletePod(cause)
            | Self::Guests(cause)
            | Self::Events(cause)
            | Self::Suspend(cause)
            | Self::Status(cause) => cause,
        }
    }
}
