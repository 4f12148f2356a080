//! Where public keys come from, in the configured order.

mod file;
mod user_object;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use tracing::debug;

use super::authorized_key::AuthorizedKey;
use crate::workspace::Cache;
use file::Files;
use user_object::UserObjects;

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
}

/// A user, as one registry knows her.
pub(super) struct Found {
    pub(super) user: String,
    /// What to call the registry in the log.
    pub(super) registry: &'static str,
    lines: Vec<String>,
}

impl Found {
    /// Her keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = AuthorizedKey<'_>> {
        self.lines.iter().filter_map(|line| {
            let not_read =
                |reason: &String| debug!(user = self.user, registry = self.registry, reason, "ignored a line");
            AuthorizedKey::parse(line)?.inspect_err(not_read).ok()
        })
    }
}

/// All configured registries.
#[derive(Clone)]
pub(super) struct Registries(Arc<[Box<dyn KeyRegistry>]>);

impl Registries {
    pub(super) fn new(registries: &[RegistryConfig], cache: &Cache) -> Self {
        let registry = |config: &RegistryConfig| -> Box<dyn KeyRegistry> {
            match config {
                RegistryConfig::UserObjects => Box::new(UserObjects::new(cache.clone())),
                RegistryConfig::Files { directory } => Box::new(Files::new(directory.clone())),
            }
        };
        Self(registries.iter().map(registry).collect())
    }

    /// Whom `login` names, in the configured order.
    pub(super) fn find(&self, login: &str) -> impl Iterator<Item = Found> {
        self.0.iter().filter_map(move |registry| registry.find(login))
    }
}
