//! What a user has before she has a pod: a namespace, an account with rights in it, and limits.
//! One idempotent function, called by a first login and by the operator alike; several may run it at once.

mod build;
mod ensure;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

use crate::api::names;

pub use build::{container_limits, default_devserver};
pub use ensure::ensure_user;

/// Is told, in words for the user, what is waited for.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// The `[provisioning]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long to wait for a namespace that is still being deleted.
    #[serde(with = "crate::config::duration")]
    pub terminating_timeout: Duration,
    /// The Pod Security level that namespaces enforce.
    pub pod_security: PodSecurity,
    /// Address ranges that pods cannot reach.
    pub blocked_egress: Vec<String>,
    /// `hard` of the ResourceQuota.
    pub quota: BTreeMap<String, Quantity>,
    /// Limits of containers that name none.
    pub container_limits: BTreeMap<String, Quantity>,
    /// Requests of containers that name none.
    pub container_requests: BTreeMap<String, Quantity>,
}

/// The levels of the Pod Security standards.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    Privileged,
    Baseline,
    Restricted,
}

/// What is known of a user's quota and limit range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotas {
    /// What they are to be.
    Known,
    /// Not all: those that are there stay as they are.
    Kept,
}

/// Why a user could not be provisioned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object's name cannot name a namespace.
    #[error("{0:?} cannot be a user: a name has 1 to 59 lower-case letters, digits and inner hyphens")]
    Name(String),
    /// There is a namespace of that name that was not made for her.
    #[error(
        "namespace {namespace} is not bastion's, and whoever logs in as {user} would have all that is in it; \
         to hand it over: kubectl label namespace {namespace} {label}={user}",
        label = names::USER_LABEL
    )]
    NotHers {
        /// Its name.
        namespace: String,
        /// Whose it would be.
        user: String,
    },
    /// An object could not be applied.
    #[error("failed to apply {kind} {name}")]
    Apply {
        /// Its kind, as people write it.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// The old namespace did not go in time.
    #[error("namespace {namespace} is still being deleted after {waited:?}")]
    Terminating {
        /// Its name.
        namespace: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The namespace could not be watched while it was being deleted.
    #[error("failed to watch namespace {namespace}")]
    Watch {
        /// Its name.
        namespace: String,
        /// What went wrong.
        source: Box<kube::runtime::wait::Error>,
    },
}

impl Error {
    /// What to tell the user, who cannot see the cluster.
    pub fn user_message(&self) -> String {
        match self {
            Self::Name(_) => self.to_string(),
            Self::NotHers { namespace, .. } => {
                format!("there is a namespace {namespace} that was not made for you; tell an administrator")
            }
            Self::Apply { kind, name, .. } => {
                format!("your {kind} {name} could not be set up; tell an administrator")
            }
            Self::Terminating { namespace, .. } => {
                format!("your old namespace {namespace} is still being deleted; try again in a while")
            }
            Self::Watch { namespace, .. } => {
                format!("your namespace {namespace} could not be looked at; tell an administrator")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn config() -> Config {
        #[derive(Deserialize)]
        struct File {
            provisioning: Config,
        }
        let file: File = toml::from_str(include_str!("../../config/default.toml")).unwrap();
        file.provisioning
    }

    #[test]
    fn the_configuration_is_whole() {
        let config = config();
        assert_eq!(config.pod_security, PodSecurity::Baseline);
        assert_eq!(config.quota["requests.nvidia.com/gpu"].0, "8");
        assert_eq!(config.container_limits["memory"].0, "2Gi");
    }
}
