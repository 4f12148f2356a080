//! What DevServers depend on: each kind is watched into a store, which reconciling reads, and its changes tell which of
//! them to look at.

use std::collections::HashSet;
use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};

use super::fetch::Stores;
use super::offers::Offers;
use super::{Context, strays, team};
use crate::api::{DevServer, DevServerFlavor, DevServerTeam, DevServerUser, names};
use crate::operator::team::Members;
use crate::operator::watch::{Change, Ready, ours, reflect, reflect_listed, reflect_ours};
use crate::watch::Unreadable;

/// What watches saw. Each goes on only as long as its stream is listened to.
pub(super) struct Changes {
    devservers: Changed<DevServer>,
    flavors: Changed<DevServerFlavor>,
    users: Changed<DevServerUser>,
    /// The users for whom something changed with their teams.
    members: BoxStream<'static, Vec<String>>,
    classes: Changed<StorageClass>,
    pods: Changed<Pod>,
    claims: Changed<PersistentVolumeClaim>,
    guests: Changed<RoleBinding>,
    guest_roles: Changed<Role>,
    /// What lists bring is in the stores, and in no stream.
    relists: UnboundedReceiver<()>,
}

type Changed<K> = BoxStream<'static, Change<K>>;

/// What the controller listens to.
pub(super) struct Triggers {
    /// DevServers that are not as they were.
    pub(super) devservers: BoxStream<'static, DevServer>,
    /// DevServers to look at as something around them changed.
    pub(super) concerned: SelectAll<BoxStream<'static, ObjectRef<DevServer>>>,
    /// All are to be looked at.
    pub(super) relists: BoxStream<'static, ()>,
}

/// `unreadable`: DevServers and flavors that are left out.
pub(super) fn watch(client: &Client, unreadable: &Unreadable) -> (Stores, Changes) {
    let (relisted, relists) = unbounded();
    let mut ready = Ready::default();
    let (devservers, devserver_changes) = ready.of(reflect_ours(client, unreadable, relisted.clone()));
    let offers = Arc::new(Offers::default());
    let (flavors, flavor_changes) = ready.of(reflect_listed(client, unreadable, relisted.clone(), {
        let offers = offers.clone();
        move |flavor: &DevServerFlavor| offers.listed(flavor)
    }));
    // Its own of users and teams: who can be read again must be in the store before her limits are gone by.
    let unreadable_owners = Unreadable::silent();
    let (users, user_changes) = ready.of(reflect_ours(client, &unreadable_owners, relisted.clone()));
    let members = Arc::new(Members::new(team::shared));
    let (teams, team_changes) = ready.of(reflect_listed(client, &Unreadable::silent(), relisted.clone(), {
        let members = members.clone();
        move |team: &DevServerTeam| members.listed(team)
    }));
    let (classes, class_changes) = ready.of(reflect(client, watcher::Config::default(), relisted.clone()));
    let (pods, pod_changes) = ready.of(reflect(client, ours(), relisted.clone()));
    let (claims, claim_changes) = ready.of(reflect(client, ours(), relisted.clone()));
    let of_devservers =
        ours().labels(&format!("{}={},{}", names::MANAGED_BY_LABEL, names::MANAGED_BY, names::DEVSERVER_LABEL));
    let (guests, guest_changes) = ready.of(reflect(client, of_devservers.clone(), relisted.clone()));
    let (guest_roles, guest_role_changes) = ready.of(reflect(client, of_devservers, relisted));
    let stores = Stores {
        devservers,
        flavors,
        users,
        teams,
        classes,
        pods,
        claims,
        guests,
        guest_roles,
        ready,
        unreadable: unreadable.clone(),
        unreadable_owners,
    };
    let changes = Changes {
        devservers: devserver_changes.boxed(),
        flavors: flavor_changes.filter(move |change| std::future::ready(offers.is_another(change))).boxed(),
        users: user_changes.boxed(),
        members: team_changes.map(move |change| members.affected(&change)).boxed(),
        classes: class_changes.boxed(),
        pods: pod_changes.boxed(),
        claims: claim_changes.boxed(),
        guests: guest_changes.boxed(),
        guest_roles: guest_role_changes.boxed(),
        relists,
    };
    (stores, changes)
}

impl Changes {
    pub(super) fn into_triggers(self, context: &Arc<Context>) -> Triggers {
        Triggers {
            devservers: each(self.devservers, context, still_there),
            concerned: stream::select_all([
                each(self.flavors, context, of_flavor),
                each(self.users, context, of_user),
                each(self.members, context, of_members),
                each(self.claims, context, of_claim),
                each(self.pods, context, of_pod),
                each(self.guests, context, |_, change| strays::of(&change.into_object())),
                each(self.guest_roles, context, |_, change| strays::of(&change.into_object())),
                each(self.classes, context, |_, _| None),
            ]),
            relists: each(self.relists.boxed(), context, |context, ()| {
                context.after_a_list();
                Some(())
            }),
        }
    }
}

/// What comes of each change.
fn each<C, I>(
    changes: BoxStream<'static, C>,
    context: &Arc<Context>,
    outcome: fn(&Context, C) -> I,
) -> BoxStream<'static, I::Item>
where
    C: 'static,
    I: IntoIterator<IntoIter: Send> + 'static,
{
    let context = context.clone();
    changes.flat_map(move |change| stream::iter(outcome(&context, change))).boxed()
}

fn still_there(context: &Context, change: Change<DevServer>) -> Option<DevServer> {
    if let Change::Deleted(server) = &change {
        context.forget(&ObjectRef::from_obj(server));
        // One that was beyond the limit may be within it now.
        context.look_at_all_in(&server.namespace().unwrap_or_default());
    }
    change.into_applied()
}

/// Also those that name none, and those that fail because theirs was missing.
fn of_flavor(context: &Context, _: Change<DevServerFlavor>) -> Vec<ObjectRef<DevServer>> {
    keys(&context.stores.devservers.state())
}

/// Hers, and those where she is a guest.
fn of_user(context: &Context, change: Change<DevServerUser>) -> Vec<ObjectRef<DevServer>> {
    let name = change.into_object().name_any();
    let own = names::namespace(&name);
    keys(&context.stores.devservers.state_filter(|server| {
        server.metadata.namespace.as_ref() == Some(&own) || server.spec.share.iter().any(|share| share.user == name)
    }))
}

fn of_members(context: &Context, members: Vec<String>) -> Vec<ObjectRef<DevServer>> {
    if members.is_empty() {
        return Vec::new();
    }
    let namespaces: HashSet<String> = members.iter().map(|user| names::namespace(user)).collect();
    let is_theirs =
        |server: &DevServer| server.metadata.namespace.as_ref().is_some_and(|name| namespaces.contains(name));
    keys(&context.stores.devservers.state_filter(is_theirs))
}

/// The claim has no owner reference, or it would go with the DevServer.
fn of_claim(context: &Context, change: Change<PersistentVolumeClaim>) -> Vec<ObjectRef<DevServer>> {
    let claim = change.into_object();
    let namespace = claim.namespace().unwrap_or_default();
    if claim.labels().contains_key(names::TEAM_LABEL) {
        return keys(&context.stores.devservers_in(&namespace));
    }
    let name = claim.labels().get(names::DEVSERVER_LABEL);
    name.map(|name| ObjectRef::new(name).within(&namespace)).into_iter().collect()
}

/// Not by its owners alone: of some nobody is the owner any more.
fn of_pod(context: &Context, change: Change<Pod>) -> HashSet<ObjectRef<DevServer>> {
    if let Change::Deleted(pod) = &change {
        context.ends.gone(pod);
        context.has_room_again(&pod.namespace().unwrap_or_default());
    }
    strays::of(&change.into_object())
}

fn keys(servers: &[Arc<DevServer>]) -> Vec<ObjectRef<DevServer>> {
    servers.iter().map(|server| ObjectRef::from_obj(&**server)).collect()
}
