//! What is wrong with a spec, for its owner.

use crate::api::conditions::reason;

/// Why nothing can be built until someone changes something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::operator::devserver) enum Invalid {
    #[error("{0:?} cannot name a DevServer: a name has 1 to 58 lower-case letters, digits and inner hyphens")]
    Name(String),
    #[error("namespace {0} belongs to no user: DevServers live in namespaces dev-USER")]
    Namespace(String),
    #[error("there is no flavor {name:?}; {}", offered(existing))]
    NoFlavor { name: String, existing: Vec<String> },
    #[error("flavor {name:?} is not for {user}; {}", usable(existing))]
    FlavorNotAllowed { name: String, user: String, existing: Vec<String> },
    /// Nobody knows what her object allows.
    #[error("the DevServerUser of {0} cannot be read, nor what it allows; tell an administrator")]
    UnreadableOwner(String),
    /// Beyond what her object allows.
    #[error("{0}")]
    Limit(String),
    #[error("home.mountPath {0:?} must be an absolute path without `..`, outside /proc, /sys, /dev and /.bastion")]
    MountPath(String),
    #[error("command must begin with a program")]
    Command,
    #[error("env {name:?} {why}")]
    Env { name: String, why: &'static str },
    #[error("shm {0:?} is not a size such as 8Gi")]
    Shm(String),
    #[error("the volume at {path:?} {why}")]
    Volume { path: String, why: &'static str },
    #[error("home.{0}")]
    Home(&'static str),
    #[error("user.{0} has to be between 0 and 2147483647")]
    RunAs(&'static str),
    #[error("startupScript {0}")]
    StartupScript(&'static str),
    #[error(
        "automountServiceAccountToken is for DevServers that nobody else works in (share): a guest could act as the owner"
    )]
    SharedToken,
}

impl Invalid {
    /// The condition's reason.
    pub(in crate::operator::devserver) fn reason(&self) -> &'static str {
        match self {
            Self::NoFlavor { .. } => reason::FLAVOR_NOT_FOUND,
            Self::FlavorNotAllowed { .. } => reason::FLAVOR_NOT_ALLOWED,
            Self::UnreadableOwner(_) => reason::OWNER_UNREADABLE,
            Self::Limit(_) => reason::LIMIT,
            Self::Name(_)
            | Self::Namespace(_)
            | Self::MountPath(_)
            | Self::Command
            | Self::Env { .. }
            | Self::Shm(_)
            | Self::Volume { .. }
            | Self::Home(_)
            | Self::RunAs(_)
            | Self::StartupScript(_)
            | Self::SharedToken => reason::INVALID_SPEC,
        }
    }
}

fn usable(existing: &[String]) -> String {
    if existing.is_empty() { "none is".to_owned() } else { format!("these are: {}", existing.join(", ")) }
}

fn offered(existing: &[String]) -> String {
    if existing.is_empty() { "there are none".to_owned() } else { format!("there are: {}", existing.join(", ")) }
}
