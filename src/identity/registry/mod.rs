//! Where public keys come from, in the configured order.

mod code_host;
mod file;
mod unreadable;
mod user_object;

use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde::Deserialize;
use tracing::warn;

use super::Config;
use super::authorized_key::AuthorizedKey;
use crate::cache::Cache;
use code_host::CodeHost;
use code_host::CodeHostConfig;
pub(super) use code_host::{CodeHostsConfig, Error, is_account};
use file::Files;
use unreadable::Unreadable;
use user_object::UserObjects;

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RegistryConfig {
    /// `DevServerUser` objects.
    UserObjects,
    /// Files `NAME.pub` or `NAME`, each as an `authorized_keys` file, in a folder.
    Files { directory: PathBuf },
    /// GitHub, GitLab, or what speaks as they do.
    CodeHost(CodeHostConfig),
}

/// A source of public keys.
trait KeyRegistry: Send + Sync {
    /// The user whom `login` names here, and the lines of her `authorized_keys`. Answers at once.
    fn find(&self, login: &str) -> Option<Found>;

    /// Asks for what is not known yet of `login`, but not for long; whether there may be more to find now.
    fn learn<'a>(&'a self, _login: &'a str) -> BoxFuture<'a, bool> {
        std::future::ready(false).boxed()
    }

    /// Differs once what is found here may differ, for registries that the cluster does not tell changes of.
    fn version(&self) -> u64 {
        0
    }
}

/// A user, as one registry knows her.
pub(super) struct Found {
    pub(super) user: String,
    /// What to call the registry in the log.
    pub(super) registry: String,
    lines: Vec<String>,
}

/// All configured registries.
#[derive(Clone)]
pub(super) struct Registries {
    all: Arc<[Box<dyn KeyRegistry>]>,
    unreadable: Arc<Unreadable>,
}

impl Registries {
    pub(super) fn new(config: &Config, cache: &Cache) -> Result<Self, Error> {
        let registry = |registry: &RegistryConfig| -> Result<Box<dyn KeyRegistry>, Error> {
            Ok(match registry.clone() {
                RegistryConfig::UserObjects => Box::new(UserObjects::new(cache.clone())),
                RegistryConfig::Files { directory } => Box::new(Files::new(directory)),
                RegistryConfig::CodeHost(host) => Box::new(CodeHost::new(host, &config.code_hosts, cache.clone())?),
            })
        };
        let all = config.registries.iter().map(registry).collect::<Result<_, _>>()?;
        Ok(Self { all, unreadable: Arc::default() })
    }

    /// Whom `login` names, in the configured order.
    pub(super) fn find(&self, login: &str) -> impl Iterator<Item = Found> {
        self.all.iter().filter_map(move |registry| registry.find(login))
    }

    /// The keys of a user who was found.
    pub(super) fn keys<'a>(&self, found: &'a Found) -> impl Iterator<Item = AuthorizedKey<'a>> {
        let Found { user, registry, lines } = found;
        lines.iter().filter_map(move |line| {
            let not_read = |reason: &String| {
                if self.unreadable.is_news(user, line) {
                    warn!(user, registry, reason, "ignored a line of a user's keys");
                }
            };
            AuthorizedKey::parse(line)?.inspect_err(not_read).ok()
        })
    }

    /// Differs once any of them may find something else than before. Reads files.
    pub(super) fn version(&self) -> Vec<u64> {
        self.all.iter().map(|registry| registry.version()).collect()
    }

    /// Asks all registries at once for what they do not know yet; whether one may know more now.
    pub(super) async fn learn(&self, login: &str) -> bool {
        join_all(self.all.iter().map(|registry| registry.learn(login))).await.contains(&true)
    }
}
