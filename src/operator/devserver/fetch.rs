//! What is known of a DevServer's surroundings, from watch caches: reconciling lists nothing.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};

use super::limits::{Sibling, Siblings};
use super::reservations::Reserved;
use super::resolve::Terms;
use super::team::{self, TeamVolume};
use crate::api::{DevServer, DevServerFlavor, DevServerTeam, DevServerUser, names};
use crate::operator::watch::Ready;
use crate::provisioning;
use crate::watch::Unreadable;

pub(super) struct Stores {
    pub(super) devservers: Store<DevServer>,
    pub(super) flavors: Store<DevServerFlavor>,
    pub(super) users: Store<DevServerUser>,
    pub(super) teams: Store<DevServerTeam>,
    pub(super) classes: Store<StorageClass>,
    pub(super) pods: Store<Pod>,
    pub(super) claims: Store<PersistentVolumeClaim>,
    /// What gives guests their rights.
    pub(super) guests: Store<RoleBinding>,
    pub(super) guest_roles: Store<Role>,
    pub(super) ready: Ready,
    /// DevServers that are left out.
    pub(super) unreadable: Unreadable,
    /// Users that are left out.
    pub(super) unreadable_owners: Unreadable,
}

/// What surrounds one DevServer.
pub(super) struct Seen {
    pub(super) flavors: Vec<Arc<DevServerFlavor>>,
    pub(super) pod: Option<Arc<Pod>>,
    pub(super) claim: Option<Arc<PersistentVolumeClaim>>,
    pub(super) guests: Option<Arc<RoleBinding>>,
    pub(super) guest_role: Option<Arc<Role>>,
    /// Those of her teams.
    pub(super) team_volumes: Vec<TeamVolume>,
}

impl Stores {
    pub(super) fn fetch(&self, server: &DevServer) -> Seen {
        let namespace = server.namespace().unwrap_or_default();
        let name = server.name_any();
        let claim = |name: &str| self.claims.get(&ObjectRef::new(name).within(&namespace));
        let owner = names::user_of(&namespace).unwrap_or_default();
        Seen {
            flavors: self.flavors.state(),
            pod: self.pods.get(&ObjectRef::new(&name).within(&namespace)),
            claim: claim(&names::home_claim(&name)),
            guests: self.guests.get(&ObjectRef::new(&names::guests(&name)).within(&namespace)),
            guest_role: self.guest_roles.get(&ObjectRef::new(&names::guests(&name)).within(&namespace)),
            team_volumes: team::volumes(owner, &self.teams.state(), claim),
        }
    }

    /// The owner of what is in `namespace`.
    pub(super) fn owner(&self, namespace: &str) -> Option<Arc<DevServerUser>> {
        self.users.get(&ObjectRef::new(names::user_of(namespace)?))
    }

    /// What holds in the namespace of `owner`, as it is provisioned.
    pub(super) fn terms(&self, owner: Option<&DevServerUser>, config: &provisioning::Config) -> Terms {
        let teams = self.teams.state();
        let complete = owner.map(|owner| DevServerTeam::complete(owner, teams.iter().map(|team| &**team)));
        let limits = provisioning::container_limits(complete.as_ref(), config);
        Terms { pod_security: config.pod_security, limits }
    }

    /// Whether `user` may log in, as far as the user's object says. Who has none is a user no more, or gets one with
    /// the first login.
    pub(super) fn may_log_in(&self, user: &str) -> bool {
        self.users.get(&ObjectRef::new(user)).is_some_and(|user| !user.spec.disabled)
    }

    /// Whether there is an owner, but nobody knows what she may.
    pub(super) fn is_owner_unreadable(&self, namespace: &str) -> bool {
        names::user_of(namespace).is_some_and(|user| self.unreadable_owners.why::<DevServerUser>("", user).is_some())
    }

    pub(super) fn siblings(&self, namespace: &str, reserved: &Reserved<'_>) -> Siblings {
        let sibling = |server: Arc<DevServer>| {
            let has_pod = self.pods.get(&ObjectRef::new(&server.name_any()).within(namespace)).is_some();
            Sibling { has_place: has_pod || reserved.has(&ObjectRef::from_obj(&*server)), server }
        };
        Siblings {
            readable: self.devservers_in(namespace).into_iter().map(sibling).collect(),
            unreadable: self.unreadable.names_in::<DevServer>(namespace),
        }
    }

    pub(super) fn devservers_in(&self, namespace: &str) -> Vec<Arc<DevServer>> {
        // Not all of them cloned: each look at one server asks for its owner's, and there are thousands.
        self.devservers.state_filter(|server| server.metadata.namespace.as_deref() == Some(namespace))
    }

    pub(super) fn storage_class(&self, claim: &PersistentVolumeClaim) -> Option<Arc<StorageClass>> {
        let name = claim.spec.as_ref()?.storage_class_name.as_deref()?;
        self.classes.get(&ObjectRef::new(name))
    }
}
