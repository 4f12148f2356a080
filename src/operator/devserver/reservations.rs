//! Who of an owner's DevServers is let through to a pod that no watch has brought yet. Of several that are made within
//! a moment each would else be looked at as if it were alone.

use std::collections::HashSet;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use parking_lot::{Mutex, MutexGuard};

use super::resolve::{Invalid, Resolved};
use super::{Context, limits};
use crate::api::{DevServer, DevServerUser};

#[derive(Default)]
pub(super) struct Reservations(Mutex<HashSet<ObjectRef<DevServer>>>);

impl Reservations {
    /// To look at who has a place and give one away, with nobody in between.
    pub(super) fn look(&self) -> Reserved<'_> {
        Reserved(self.0.lock())
    }
}

pub(super) struct Reserved<'a>(MutexGuard<'a, HashSet<ObjectRef<DevServer>>>);

impl Reserved<'_> {
    pub(super) fn has(&self, key: &ObjectRef<DevServer>) -> bool {
        self.0.contains(key)
    }

    /// Whether a place became free.
    pub(super) fn set(&mut self, key: &ObjectRef<DevServer>, is_taken: bool) -> bool {
        match is_taken {
            true => {
                self.0.insert(key.clone());
                false
            }
            false => self.0.remove(key),
        }
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&ObjectRef<DevServer>) -> bool) {
        self.0.retain(keep);
    }
}

impl Context {
    /// A pod is gone: what was refused for want of room, or was beyond a limit, may be had now.
    pub(super) fn has_room_again(&self, namespace: &str) {
        for server in self.look_at_all_in(namespace) {
            self.memories.may_be_had(&server);
        }
    }

    pub(super) fn look_at_all_in(&self, namespace: &str) -> Vec<ObjectRef<DevServer>> {
        let servers = self.stores.devservers_in(namespace);
        let servers: Vec<_> = servers.iter().map(|server| ObjectRef::from_obj(&**server)).collect();
        for server in &servers {
            let _ = self.others.unbounded_send(server.clone());
        }
        servers
    }

    /// What was resolved, if its owner may have it; its place among hers is then taken.
    pub(super) fn within_limits(
        &self,
        server: &DevServer,
        resolved: Result<Resolved, Invalid>,
        owner: Option<&DevServerUser>,
    ) -> Result<Resolved, Invalid> {
        let (key, namespace) = (ObjectRef::from_obj(server), server.namespace().unwrap_or_default());
        let mut reserved = self.reservations.look();
        let wanted = resolved.and_then(|wanted| {
            if owner.is_none() && self.stores.is_owner_unreadable(&namespace) {
                return Err(Invalid::UnreadableOwner(wanted.user));
            }
            let servers = || self.stores.siblings(&namespace, &reserved);
            limits::check(server, &wanted, owner, self.config.max_devservers, servers).map(|()| wanted)
        });
        let is_asleep = server.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.suspended);
        let is_to_have_a_pod = wanted.is_ok() && !is_asleep && server.metadata.deletion_timestamp.is_none();
        if reserved.set(&key, is_to_have_a_pod) {
            self.look_at_all_in(&namespace);
        }
        wanted
    }
}
