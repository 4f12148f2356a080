//! The configuration: `config/default.toml`, overlaid by a file, overlaid by the environment.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use crate::{identity, operator, provisioning, ssh, telemetry, workspace};

const DEFAULT: &str = include_str!("../config/default.toml");
const PREFIX: &str = "BASTION_";

/// All settings; each section is its module's own type.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub log: telemetry::LogConfig,
    pub telemetry: telemetry::Config,
    pub ssh: ssh::Config,
    pub identity: identity::Config,
    pub workspace: workspace::Config,
    pub provisioning: provisioning::Config,
    pub operator: operator::Config,
    pub dev: DevConfig,
}

/// The `[dev]` section: what `bastion dev` alone has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevConfig {
    pub api_listen: std::net::SocketAddr,
    #[serde(with = "duration")]
    pub exec_idle_timeout: std::time::Duration,
}

impl Config {
    /// Reads the defaults, then `layers` in order, then `file`, then `environment`.
    pub fn load(
        layers: &[Table],
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let mut settings: Table = DEFAULT.parse().expect("config/default.toml is TOML, as a test sees");
        for layer in layers {
            overlay(&mut settings, layer.clone());
        }
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })?;
            overlay(&mut settings, text.parse().map_err(|source| Error::Syntax { path: path.into(), source })?);
        }
        for (name, value) in environment {
            if let Some(keys) = name.strip_prefix(PREFIX)
                && keys.contains("__")
            {
                overlay(&mut settings, from_variable(keys, &value));
            }
        }
        Ok(Value::Table(settings).try_into()?)
    }
}

/// Tables are merged; anything else is replaced.
fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if key != "host_key" => overlay(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// `SSH__LISTEN` and `0.0.0.0:22` → `{ ssh = { listen = "0.0.0.0:22" } }`. What is no TOML value is a string.
fn from_variable(keys: &str, value: &str) -> Table {
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let nested = keys
        .to_lowercase()
        .rsplit("__")
        .fold(value, |inner, key| Value::Table(Table::from_iter([(key.to_owned(), inner)])));
    match nested {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not TOML", path.display())]
    Syntax { path: PathBuf, source: toml::de::Error },
    /// Names the key.
    #[error("invalid configuration")]
    Invalid(#[from] toml::de::Error),
}

/// Durations as texts: `30s`, `10m`, `1h 30m`, `7d`.
pub mod duration {
    use std::time::Duration;

    use crate::api::TimeSpan;
    use serde::de::{Deserialize, Deserializer, Error, Unexpected};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed: Option<jiff::SignedDuration> = text.parse().ok();
        parsed
            .and_then(|duration| Duration::try_from(duration).ok())
            // With days, which jiff leaves to calendars.
            .or_else(|| TimeSpan(text.clone()).get())
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a duration such as `30s` or `10m`"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, Error> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file).unwrap();
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Config::load(&[], Some(path.path()), environment)
    }

    #[test]
    fn the_defaults_are_complete() {
        let config = load("", &[]).unwrap();
        assert_eq!(config.ssh.keepalive_interval, Duration::from_secs(30));
    }

    #[test]
    fn the_environment_overlays_the_file_and_the_file_the_defaults() {
        let file = "[ssh]\nmax_sessions = 3\nkeepalive_interval = \"7s\"\nhost_key = { file = \"/k\" }";
        let config = load(file, &[("BASTION_SSH__MAX_SESSIONS", "4"), ("BASTION_SSH__LISTEN", "[::1]:22")]).unwrap();
        assert_eq!(config.ssh.max_sessions, 4);
        assert_eq!(config.ssh.keepalive_interval, Duration::from_secs(7));
        assert_eq!(config.ssh.listen.to_string(), "[::1]:22");
        assert!(matches!(config.ssh.host_key, ssh::HostKeySource::File(path) if path == Path::new("/k")));
    }

    #[test]
    fn a_mistake_is_named() {
        let message = |file: &str| format!("{:#}", anyhow::Error::from(load(file, &[]).unwrap_err()));
        assert!(message("[ssh]\nlisten_on = \"x\"").contains("listen_on"));
        assert!(message("[ssh]\nlogin_grace_time = \"soon\"").contains("soon"));
        assert!(message("[ssh]\nlogin_grace_time = 30").contains("login_grace_time"));
        for list in ["[]", "[\"localhost\"]", "[\"any\", \"localhost:80\"]"] {
            assert!(message(&format!("[ssh]\npermit_open = {list}")).contains("ssh.permit_open"), "{list}");
        }
    }
}
