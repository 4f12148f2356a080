//! Who is this? A login name and a proven key → an [`Identity`].

mod authorized_key;
mod registry;

pub use registry::{Config, Registries};

use russh::keys::{HashAlg, PublicKey};
use tracing::debug;

/// A person who proved who she is. Only [`Authenticator::resolve`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: String,
    fingerprint: String,
}

impl Identity {
    #[cfg(test)]
    pub(crate) fn for_test(user: &str) -> Self {
        Self { user: user.to_owned(), fingerprint: String::new() }
    }

    /// The name of her user object, and what her namespace is named after.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The SHA-256 fingerprint of the key that proved it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Knows whose keys are whose.
#[derive(Clone)]
pub struct Authenticator {
    registries: Registries,
}

impl Authenticator {
    pub fn new(registries: Registries) -> Self {
        Self { registries }
    }

    /// Whether `key` would be welcome for `login`. The client has proved nothing yet.
    pub fn welcomes(&self, login: &str, key: &PublicKey) -> bool {
        self.registries.user_with_key(login, key).is_some()
    }

    /// The person that `login` names, now that the client proved to hold `key`. Unknown users and foreign keys are
    /// told apart in the log only.
    pub fn resolve(&self, login: &str, key: &PublicKey) -> Option<Identity> {
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let Some(user) = self.registries.user_with_key(login, key) else {
            debug!(login, fingerprint, "no such user, or not a key of hers");
            return None;
        };
        Some(Identity { user, fingerprint })
    }
}
