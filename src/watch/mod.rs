//! Watches that one bad object cannot end. An object that is none of its kind, as one written before the
//! schema refused it, is left out as if it were not there; that it is, and why, is remembered and told.

mod guard;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ListParams;
use kube::core::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{info, warn};

pub use self::guard::{Guard, Invalid};

/// What a process knows of objects that cannot be read as what they claim to be.
#[derive(Clone, Default)]
pub struct Unreadable {
    objects: Arc<RwLock<BTreeMap<Key, String>>>,
    found: Option<UnboundedSender<Found>>,
    is_silent: bool,
}

/// An object that cannot be read.
#[derive(Clone, Debug)]
pub struct Found {
    pub object: ObjectReference,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: String,
    namespace: String,
    name: String,
}

impl Key {
    fn of<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> Self {
        Self { kind: K::kind(&()).into_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn in_metadata<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> Self {
        Self::of::<K>(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
    }
}

impl Unreadable {
    /// The receiver hears of each object once, and again when something else is wrong with it.
    pub fn telling() -> (Self, UnboundedReceiver<Found>) {
        let (found, told) = unbounded_channel();
        (Self { objects: Arc::default(), found: Some(found), is_silent: false }, told)
    }

    /// For watches of which what they see is told already by others. Only what one watch alone notes agrees at all
    /// times with what has been seen of it: of two watches of a kind, one is always behind.
    pub fn silent() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    /// Why the `K` of that name cannot be read, if there is one that cannot. What belongs to the cluster has no
    /// namespace.
    pub fn why<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) -> Option<String> {
        self.objects.read().get(&Key::of::<K>(namespace, name)).cloned()
    }

    /// Whether there is any `K` that cannot be read.
    pub fn any<K: Resource<DynamicType = ()>>(&self) -> bool {
        let kind = K::kind(&());
        self.objects.read().keys().any(|key| key.kind == kind)
    }

    /// The names of those `K` in `namespace` that cannot be read.
    pub fn names_in<K: Resource<DynamicType = ()>>(&self, namespace: &str) -> Vec<String> {
        let kind = K::kind(&());
        let objects = self.objects.read();
        let here = objects.keys().filter(|key| key.kind == kind && key.namespace == namespace);
        here.map(|key| key.name.clone()).collect()
    }

    fn put<K: Resource<DynamicType = ()>>(&self, metadata: &ObjectMeta, why: &str) {
        let key = Key::in_metadata::<K>(metadata);
        let before = self.objects.write().insert(key.clone(), why.to_owned());
        if self.is_silent || before.as_deref() == Some(why) {
            return;
        }
        let Key { kind, namespace, name } = key;
        warn!(kind, namespace, name, why, "an object cannot be read; it is left out until it is put right");
        if let Some(found) = &self.found {
            let object = ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(kind),
                namespace: metadata.namespace.clone(),
                name: Some(name),
                uid: metadata.uid.clone(),
                ..ObjectReference::default()
            };
            // Nobody listens any more only while the process stops.
            let _ = found.send(Found { object, why: why.to_owned() });
        }
    }

    fn forget(&self, key: &Key) {
        let was_there = self.objects.write().remove(key).is_some();
        if was_there && !self.is_silent {
            let Key { kind, namespace, name } = key;
            info!(kind, namespace, name, "an object that could not be read is put right, or gone");
        }
    }

    /// A list brought all of `kind` that there are.
    fn forget_others(&self, kind: &str, listed: &BTreeSet<Key>) {
        let mut gone: Vec<Key> = self.objects.read().keys().cloned().collect();
        gone.retain(|key| key.kind == kind && !listed.contains(key));
        gone.iter().for_each(|key| self.forget(key));
    }
}

/// For objects that users write, of up to 1.5 MB each: read in pages, of which one has to fit into memory a few times.
pub fn in_pages() -> watcher::Config {
    watcher::Config::default().page_size(50)
}

/// Watches all objects of a kind. One that cannot be read is as one that is deleted, and is in `unreadable` before
/// its event is out.
pub fn watch<K>(
    client: &Client,
    config: watcher::Config,
    unreadable: &Unreadable,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Default + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let mut sieve = Sieve { unreadable: unreadable.clone(), listed: BTreeSet::new() };
    watcher(Api::<Guard<K>>::all(client.clone()), config)
        .default_backoff()
        .filter_map(move |event| ready(event.map(|event| sieve.take(event)).transpose()))
}

/// The objects of `api` that can be read, and of the others the names with what is wrong.
pub async fn list<K>(api: Api<Guard<K>>) -> kube::Result<(Vec<K>, Vec<(String, String)>)>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let (mut readable, mut others) = (Vec::new(), Vec::new());
    for Guard(object) in api.list(&ListParams::default()).await? {
        match object {
            Ok(object) => readable.push(object),
            Err(invalid) => others.push((invalid.metadata.name.unwrap_or_default(), invalid.error)),
        }
    }
    Ok((readable, others))
}

struct Sieve {
    unreadable: Unreadable,
    /// What cannot be read of the list that is being brought.
    listed: BTreeSet<Key>,
}

impl Sieve {
    fn take<K: Resource<DynamicType = ()> + Default>(&mut self, event: Event<Guard<K>>) -> Option<Event<K>> {
        Some(match event {
            Event::Init => {
                self.listed.clear();
                Event::Init
            }
            Event::InitApply(Guard(Ok(object))) => Event::InitApply(object),
            Event::InitApply(Guard(Err(invalid))) => {
                self.listed.insert(Key::in_metadata::<K>(&invalid.metadata));
                self.unreadable.put::<K>(&invalid.metadata, &invalid.error);
                return None;
            }
            Event::InitDone => {
                self.unreadable.forget_others(&K::kind(&()), &self.listed);
                Event::InitDone
            }
            Event::Apply(Guard(Ok(object))) => {
                self.unreadable.forget(&Key::in_metadata::<K>(object.meta()));
                Event::Apply(object)
            }
            Event::Apply(Guard(Err(invalid))) => {
                self.unreadable.put::<K>(&invalid.metadata, &invalid.error);
                Event::Delete(named(invalid.metadata))
            }
            Event::Delete(Guard(object)) => {
                let object = object.unwrap_or_else(|invalid| named(invalid.metadata));
                self.unreadable.forget(&Key::in_metadata::<K>(object.meta()));
                Event::Delete(object)
            }
        })
    }
}

/// All that is known of an object that cannot be read.
fn named<K: Resource<DynamicType = ()> + Default>(metadata: ObjectMeta) -> K {
    let mut object = K::default();
    *object.meta_mut() = metadata;
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServer, DevServerUser};
    use kube::ResourceExt;
    use serde_json::json;

    fn user(name: &str, disabled: serde_json::Value) -> Guard<DevServerUser> {
        serde_json::from_value(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServerUser",
            "metadata": { "name": name, "uid": "u", "generation": 3, "creationTimestamp": "2026-01-02T03:04:05Z" },
            "spec": { "publicKeys": ["ssh-ed25519 AAAA"], "disabled": disabled, "limits": { "devServers": 2 } },
            "status": { "phase": "Ready", "observedGeneration": 3 },
        }))
        .unwrap()
    }

    /// What is left of the event: what it does, and to whom.
    fn seen(sieve: &mut Sieve, event: Event<Guard<DevServerUser>>) -> Option<String> {
        Some(match sieve.take(event)? {
            Event::Init => "list".to_owned(),
            Event::InitApply(user) => format!("has {}", user.name_any()),
            Event::InitDone => "whole".to_owned(),
            Event::Apply(user) => format!("+{}", user.name_any()),
            Event::Delete(user) => format!("-{}", user.name_any()),
        })
    }

    #[test]
    fn one_that_cannot_be_read_is_as_deleted_and_remembered_until_it_is_put_right() {
        let (unreadable, mut found) = Unreadable::telling();
        let mut sieve = Sieve { unreadable: unreadable.clone(), listed: BTreeSet::new() };
        let why = |name: &str| unreadable.why::<DevServerUser>("", name);
        assert_eq!(seen(&mut sieve, Event::Init).as_deref(), Some("list"));
        assert_eq!(seen(&mut sieve, Event::InitApply(user("alice", json!(false)))).as_deref(), Some("has alice"));
        assert_eq!(seen(&mut sieve, Event::InitApply(user("bob", json!("no")))), None);
        assert_eq!(seen(&mut sieve, Event::InitDone).as_deref(), Some("whole"));
        assert_eq!(why("alice"), None);
        assert!(why("bob").unwrap().contains("xpected a boolean"), "{:?}", why("bob"));
        assert_eq!(unreadable.why::<DevServer>("", "bob"), None, "of another kind");
        assert_eq!(unreadable.names_in::<DevServerUser>(""), ["bob"]);
        assert!(unreadable.names_in::<DevServerUser>("dev-bob").is_empty());
        assert!(unreadable.names_in::<DevServer>("").is_empty());

        assert_eq!(seen(&mut sieve, Event::Apply(user("alice", json!(7)))).as_deref(), Some("-alice"));
        assert!(why("alice").is_some());
        assert_eq!(seen(&mut sieve, Event::Apply(user("alice", json!(7)))).as_deref(), Some("-alice"));
        assert_eq!(seen(&mut sieve, Event::Apply(user("alice", json!(true)))).as_deref(), Some("+alice"));
        assert_eq!(why("alice"), None);
        assert_eq!(seen(&mut sieve, Event::Delete(user("bob", json!("no")))).as_deref(), Some("-bob"));
        assert_eq!(why("bob"), None);
        let told: Vec<_> = std::iter::from_fn(|| found.try_recv().ok()?.object.name).collect();
        assert_eq!(told, ["bob", "alice"], "each is told once");
    }

    #[test]
    fn one_that_went_while_nobody_watched_is_forgotten_when_the_next_list_is_whole() {
        let unreadable = Unreadable::default();
        let mut sieve = Sieve { unreadable: unreadable.clone(), listed: BTreeSet::new() };
        for name in ["alice", "bob"] {
            seen(&mut sieve, Event::Apply(user(name, json!("no"))));
        }
        seen(&mut sieve, Event::Init);
        seen(&mut sieve, Event::InitApply(user("bob", json!("no"))));
        let why = |name: &str| unreadable.why::<DevServerUser>("", name);
        assert!(why("alice").is_some(), "until then she is kept out");
        seen(&mut sieve, Event::InitDone);
        assert!(why("alice").is_none() && why("bob").is_some());
    }

    #[test]
    fn what_can_be_read_is_read_whole() {
        let read = user("alice", json!(true)).0.unwrap();
        assert_eq!(read.metadata.generation, Some(3));
        assert_eq!(read.spec.limits.unwrap().dev_servers, Some(2));
        assert_eq!(read.status.unwrap().observed_generation, Some(3));
        assert!(read.metadata.creation_timestamp.is_some());
    }
}
