//! What an administrator can set.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::variables::AcceptEnv;
use crate::identity::{Permits, Way};

/// The `[ssh]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    /// Load balancers that begin each connection with a header of the PROXY protocol.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Where the host key comes from; `app` reads it.
    pub host_key: HostKeySource,
    /// Files with further host keys (sshd_config(5), `HostKey`).
    pub further_host_keys: Vec<PathBuf>,
    /// Files with certificates of host keys (sshd_config(5), `HostCertificate`).
    pub host_certificates: Vec<PathBuf>,
    /// What to encrypt with, best first.
    #[serde(deserialize_with = "super::algorithms::ciphers")]
    pub ciphers: Vec<russh::cipher::Name>,
    /// What to authenticate with, where the cipher does not.
    #[serde(deserialize_with = "super::algorithms::macs")]
    pub macs: Vec<russh::mac::Name>,
    /// Shown before the login.
    pub banner: Option<String>,
    #[serde(with = "crate::config::duration")]
    pub login_grace_time: Duration,
    pub max_startups: usize,
    pub max_startups_per_source: usize,
    pub penalties: PenaltiesConfig,
    pub max_key_offers: usize,
    pub max_connections_per_user: usize,
    pub max_channels_per_user: usize,
    pub max_sessions: usize,
    /// Variables that clients may set (sshd_config(5), `AcceptEnv`).
    pub accept_env: AcceptEnv,
    pub allow_port_forwarding: bool,
    /// Sockets in the file system too (sshd_config(5), `AllowStreamLocalForwarding`).
    pub allow_stream_local_forwarding: bool,
    /// Where clients may connect to (sshd_config(5), `PermitOpen`).
    #[serde(deserialize_with = "permit_open")]
    pub permit_open: Permits,
    /// Where clients may have their pods listen (sshd_config(5), `PermitListen`).
    #[serde(deserialize_with = "permit_listen")]
    pub permit_listen: Permits,
    pub allow_agent_forwarding: bool,
    pub allow_x11_forwarding: bool,
    pub max_forwards: usize,
    #[serde(with = "crate::config::duration")]
    pub detached_shell_timeout: Duration,
    #[serde(with = "crate::config::duration")]
    pub keepalive_interval: Duration,
    pub keepalive_count_max: usize,
    #[serde(with = "crate::config::duration")]
    pub drain_timeout: Duration,
    pub spool_directory: PathBuf,
    pub spool_memory_mib: u64,
    pub spool_slow_above_mib: u64,
    pub spool_limit_mib: u64,
    pub spool_total_mib: u64,
}

/// The `[ssh.penalties]` section: what each connection without a login adds to the time that its source is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PenaltiesConfig {
    #[serde(with = "crate::config::duration")]
    pub auth_failed: Duration,
    #[serde(with = "crate::config::duration")]
    pub no_auth: Duration,
    #[serde(with = "crate::config::duration")]
    pub grace_exceeded: Duration,
    #[serde(with = "crate::config::duration")]
    pub min: Duration,
    #[serde(with = "crate::config::duration")]
    pub max: Duration,
    pub max_sources: usize,
    pub exempt: Vec<IpNet>,
}

/// Where the host key is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HostKeySource {
    /// In this file; made if missing.
    File(PathBuf),
    /// In this Secret of the bastion's own namespace; made if missing.
    Secret(String),
}

fn permit_open<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Permits, D::Error> {
    permits(deserializer, Way::Open, "the configuration (ssh.permit_open)")
}

fn permit_listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Permits, D::Error> {
    permits(deserializer, Way::Listen, "the configuration (ssh.permit_listen)")
}

fn permits<'de, D: Deserializer<'de>>(deserializer: D, way: Way, by: &'static str) -> Result<Permits, D::Error> {
    Permits::parse(way, by, &Vec::deserialize(deserializer)?).map_err(D::Error::custom)
}
