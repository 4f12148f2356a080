//! Keys in `DevServerUser` objects, from the watch cache.

use super::{Found, KeyRegistry};
use crate::cache::Cache;

pub(super) struct UserObjects {
    cache: Cache,
}

impl UserObjects {
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache }
    }
}

impl KeyRegistry for UserObjects {
    fn find(&self, login: &str) -> Option<Found> {
        let user = self.cache.user_of_login(login)?;
        let name = user.metadata.name.clone()?;
        Some(Found { user: name, registry: "user-objects".to_owned(), lines: user.spec.public_keys.clone() })
    }
}
