//! Keys that people keep at GitHub, GitLab and their like, which hand them out at `/NAME.keys`.

mod accounts;
mod fetch;

#[cfg(test)]
mod tests;

use fetch::BaseUrl;
pub(in crate::identity) use fetch::Error;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use tracing::warn;

use super::{Found, KeyRegistry};
use crate::api::names;
use crate::cache::Cache;
use accounts::Accounts;
use fetch::Host;

/// A code host, and whose account there is whose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeHostConfig {
    /// What `spec.accounts` of users and the log call it.
    pub name: String,
    /// What comes before `/NAME.keys`.
    pub url: BaseUrl,
    /// A PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Accounts by user, for users whose object names none.
    #[serde(default)]
    pub accounts: BTreeMap<String, String>,
    /// Whether a user's own name is her account if nothing else is said.
    #[serde(default)]
    pub same_name: bool,
}

/// The `[identity.code_hosts]` section: how old keys may be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeHostsConfig {
    #[serde(with = "crate::config::duration")]
    pub refresh: Duration,
    #[serde(with = "crate::config::duration")]
    pub keep: Duration,
}

/// What asks more often is a load for its host.
const MIN_REFRESH: Duration = Duration::from_secs(1);

pub(super) struct CodeHost {
    config: CodeHostConfig,
    cache: Cache,
    accounts: Accounts,
}

impl CodeHost {
    pub(super) fn new(config: CodeHostConfig, ages: &CodeHostsConfig, cache: Cache) -> Result<Self, Error> {
        if ages.refresh < MIN_REFRESH || ages.keep < ages.refresh {
            return Err(Error::Ages);
        }
        let host = Host::new(&config.url, config.ca_file.as_deref())?;
        let accounts = Accounts::new(config.name.clone(), host, ages);
        Ok(Self { config, cache, accounts })
    }

    /// The user whom `login` names, and her account.
    fn account(&self, login: &str) -> Option<(String, String)> {
        let object = self.cache.user_of_login(login);
        let user = match &object {
            Some(object) => object.metadata.name.clone()?,
            None => login.to_owned(),
        };
        let own = object.as_ref().and_then(|object| object.spec.accounts.get(&self.config.name));
        let account = own.or_else(|| self.config.accounts.get(&user)).cloned();
        // Only who is a user already: else anybody who has an account there could become one.
        let account = account.or_else(|| (self.config.same_name && object.is_some()).then(|| user.clone()))?;
        if !names::is_user_name(&user) || !is_account(&account) {
            warn!(user, account, host = self.config.name, "not a name that an account there can have");
            return None;
        }
        Some((user, account))
    }
}

impl KeyRegistry for CodeHost {
    fn find(&self, login: &str) -> Option<Found> {
        let (user, account) = self.account(login)?;
        Some(Found { user, registry: self.config.name.clone(), lines: self.accounts.keys(&account) })
    }

    fn version(&self) -> u64 {
        self.accounts.version()
    }

    fn learn<'a>(&'a self, login: &'a str) -> BoxFuture<'a, bool> {
        match self.account(login) {
            Some((_, account)) => self.accounts.learn(account).boxed(),
            None => std::future::ready(false).boxed(),
        }
    }
}

/// Also what keeps the name within its place in the URL.
pub(in crate::identity) fn is_account(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=255).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(word)
}
