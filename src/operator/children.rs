//! Whose namespace has to be put right: watches what is in it, and tells when others deleted or changed it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::watch::ours;
use crate::api::{DevServerUser, names};

/// Users of whose objects of this kind one is no longer as it was. That also hears what happened while the watch was
/// lost. An object as we just made it is told too: then nothing is to be done.
pub(super) fn disturbed<K>(
    client: &Client,
) -> impl Stream<Item = watcher::Result<ObjectRef<DevServerUser>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(client.clone());
    let mut children = Children::default();
    watcher(api, ours().any_semantic()).default_backoff().flat_map(move |event| {
        let users = match event {
            Ok(event) => children.take(event).into_iter().map(|user| Ok(ObjectRef::new(&user))).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(users)
    })
}

/// The objects of one kind.
#[derive(Default)]
struct Children {
    known: HashMap<String, Child>,
    /// What a list has brought so far; it takes the place of `known` when it is whole.
    listed: HashMap<String, Child>,
}

struct Child {
    user: String,
    /// The same as long as nobody writes to it but what writes its status.
    version: u64,
}

impl Children {
    /// The users who are concerned.
    fn take<K: Resource>(&mut self, event: Event<K>) -> Vec<String> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some((key, child)) = child(&object) {
                    self.listed.insert(key, child);
                }
                Vec::new()
            }
            Event::InitDone => {
                let mut before = std::mem::replace(&mut self.known, std::mem::take(&mut self.listed));
                // Those that were not known are of users whose reconciling makes, or made, them.
                before.retain(|key, old| self.known.get(key).is_none_or(|new| new.version != old.version));
                before.into_values().map(|child| child.user).collect()
            }
            Event::Apply(object) => {
                let Some((key, new)) = child(&object) else { return Vec::new() };
                let (user, version) = (new.user.clone(), new.version);
                let same = self.known.insert(key, new).is_some_and(|old| old.version == version);
                if same { Vec::new() } else { vec![user] }
            }
            Event::Delete(object) => {
                self.known.remove(&key(&object));
                child(&object).map(|(_, child)| child.user).into_iter().collect()
            }
        }
    }
}

/// What a DevServer has is none of its owner's namespace's: its guests' rights come and go with its spec.
fn child<K: Resource>(object: &K) -> Option<(String, Child)> {
    if object.labels().contains_key(names::DEVSERVER_LABEL) {
        return None;
    }
    let user = object.labels().get(names::USER_LABEL)?.clone();
    Some((key(object), Child { user, version: version(object.meta()) }))
}

fn key<K: Resource>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Not its revision: a quota's status changes all the time. Who wrote what, and when, is in the managed fields.
fn version(metadata: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    metadata.uid.hash(&mut hasher);
    metadata.labels.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    let writes = metadata.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
    for ManagedFieldsEntry { manager, operation, time, fields_v1, .. } in writes {
        (manager, operation).hash(&mut hasher);
        time.as_ref().map(|time| time.0).hash(&mut hasher);
        fields_v1.as_ref().map(|fields| fields.0.to_string()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ResourceQuota;
    use serde_json::json;

    fn quota(uid: &str, writes: &[(&str, &str, i64)]) -> ResourceQuota {
        let entry = |(manager, subresource, second): &(&str, &str, i64)| {
            let mut entry = json!({
                "manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": { "f:x": {} },
                "time": format!("2026-01-01T00:00:{second:02}Z"),
            });
            if !subresource.is_empty() {
                entry["subresource"] = json!(subresource);
            }
            entry
        };
        serde_json::from_value(json!({ "metadata": {
            "name": "dev-user", "namespace": "dev-alice", "uid": uid, "labels": { "devserver.io/user": "alice" },
            "managedFields": writes.iter().map(entry).collect::<Vec<_>>(),
        }}))
        .unwrap()
    }

    #[test]
    fn what_others_write_is_told_and_a_status_is_not() {
        let mut children = Children::default();
        let ours = ("bastion", "", 1);
        assert_eq!(children.take(Event::Apply(quota("u", &[ours]))), ["alice"], "as it is made");
        let counted = [ours, ("kube-controller-manager", "status", 2)];
        assert!(children.take(Event::Apply(quota("u", &counted))).is_empty());
        let edited = [ours, counted[1], ("kubectl-edit", "", 3)];
        assert_eq!(children.take(Event::Apply(quota("u", &edited))), ["alice"]);
        assert!(children.take(Event::Apply(quota("u", &edited))).is_empty());
        assert_eq!(children.take(Event::Delete(quota("u", &edited))), ["alice"]);
    }

    #[test]
    fn what_happened_while_the_watch_was_lost_is_told_when_the_list_is_whole() {
        let list = |children: &mut Children, objects: Vec<ResourceQuota>| {
            assert!(children.take(Event::<ResourceQuota>::Init).is_empty());
            for object in objects {
                assert!(children.take(Event::InitApply(object)).is_empty());
            }
            children.take(Event::<ResourceQuota>::InitDone)
        };
        let as_made = || quota("u", &[("bastion", "", 1)]);
        let mut children = Children::default();
        assert!(list(&mut children, vec![as_made()]).is_empty(), "after a start everybody is reconciled anyway");
        assert!(list(&mut children, vec![as_made()]).is_empty());
        assert_eq!(list(&mut children, vec![quota("u", &[("bastion", "", 1), ("kubectl-edit", "", 2)])]), ["alice"]);
        assert_eq!(list(&mut children, vec![quota("v", &[("bastion", "", 1)])]), ["alice"], "made anew by somebody");
        assert_eq!(list(&mut children, vec![]), ["alice"]);
        assert!(list(&mut children, vec![]).is_empty());
    }
}
