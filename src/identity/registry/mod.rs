//! Where public keys come from, in the configured order.

mod file;
mod user_object;

use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::PublicKey;
use serde::Deserialize;
use tracing::warn;

use super::authorized_key;
use crate::workspace::Cache;
use file::Files;
use user_object::UserObjects;

/// The `[identity]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The registries to ask, in this order; the first that knows the key for the login wins.
    pub registries: Vec<RegistryConfig>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RegistryConfig {
    /// `DevServerUser` objects.
    UserObjects,
    /// Files `NAME.pub` or `NAME`, each as an `authorized_keys` file, in a folder.
    Files { directory: PathBuf },
}

/// A source of public keys.
trait KeyRegistry: Send + Sync {
    /// The user whom `login` names here, and the lines of her `authorized_keys`. Answers at once.
    fn find(&self, login: &str) -> Option<Found>;
    /// What to call it in the log.
    fn name(&self) -> &'static str;
}

struct Found {
    user: String,
    lines: Vec<String>,
}

/// All configured registries.
#[derive(Clone)]
pub struct Registries(Arc<[Box<dyn KeyRegistry>]>);

impl Registries {
    pub fn new(config: &Config, cache: &Cache) -> Self {
        let registry = |config: &RegistryConfig| -> Box<dyn KeyRegistry> {
            match config {
                RegistryConfig::UserObjects => Box::new(UserObjects::new(cache.clone())),
                RegistryConfig::Files { directory } => Box::new(Files::new(directory.clone())),
            }
        };
        Self(config.registries.iter().map(registry).collect())
    }

    /// The user whom `login` names and who holds `key`.
    pub(super) fn user_with_key(&self, login: &str, key: &PublicKey) -> Option<String> {
        self.0.iter().find_map(|registry| {
            let found = registry.find(login)?;
            let holds = |line: &String| match authorized_key::parse(line)? {
                Ok(own) => Some(own.key_data() == key.key_data()),
                Err(reason) => {
                    warn!(user = found.user, registry = registry.name(), reason, "refused a registered key");
                    None
                }
            };
            found.lines.iter().filter_map(holds).any(|same| same).then_some(found.user)
        })
    }
}
