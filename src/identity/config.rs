//! What an administrator can set.

use std::path::PathBuf;

use serde::Deserialize;

use super::registry::{CodeHostsConfig, RegistryConfig};

/// The `[identity]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The registries to ask, in this order; the first that knows the key for the login wins.
    pub registries: Vec<RegistryConfig>,
    /// How old keys from code hosts may be.
    pub code_hosts: CodeHostsConfig,
    /// Files with the keys of certificate authorities (sshd_config(5), `TrustedUserCAKeys`).
    pub trusted_user_ca_keys: Vec<PathBuf>,
    /// A file with keys and certificates that let nobody in (sshd_config(5), `RevokedKeys`).
    pub revoked_keys: Option<PathBuf>,
}

impl Config {
    /// What users' `spec.accounts` may name.
    pub fn code_hosts_by_name(&self) -> Vec<String> {
        let name = |registry: &RegistryConfig| match registry {
            RegistryConfig::CodeHost(host) => Some(host.name.clone()),
            RegistryConfig::UserObjects | RegistryConfig::Files { .. } => None,
        };
        self.registries.iter().filter_map(name).collect()
    }
}
