//! All objects, in memory and on disk, with one revision counter and a bounded log of what changed.
//! It knows metadata's revision and finalizers; every other rule is the API server's.

mod disk;
#[cfg(test)]
mod tests;

use super::object;
use disk::Disk;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
};
use tokio::sync::watch;

/// How many changes a watcher may fall behind before it has to list again.
const LOG_LENGTH: usize = 4096;

pub(super) struct Store {
    /// A panic in a caller's closure leaves the objects as they were: only `write` changes them, afterwards.
    state: Mutex<State>,
    revision: watch::Sender<u64>,
}

struct State {
    objects: Objects,
    log: VecDeque<Arc<Event>>,
    log_length: usize,
    /// Changes up to this revision are no longer in the log.
    floor: u64,
    disk: Disk,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// Plural and group, as in a CRD's name: `pods`, `devservers.devserver.io`.
    pub(super) resource: String,
    /// Empty for what belongs to the cluster.
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Modified,
    Deleted,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) revision: u64,
    pub(super) change: Change,
    pub(super) key: Key,
    pub(super) object: Arc<Value>,
    pub(super) before: Option<Arc<Value>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read the stored objects in {path}")]
    Load { path: String, source: std::io::Error },
    #[error("failed to store {path}")]
    Save { path: String, source: std::io::Error },
}

/// The changes after the cursor have left the log: list again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expired;

impl Store {
    pub(super) fn open(folder: &Path) -> Result<Store, Error> {
        Store::with_log(folder, LOG_LENGTH)
    }

    fn with_log(folder: &Path, log_length: usize) -> Result<Store, Error> {
        let (disk, objects, revision) = disk::open(folder)?;
        Ok(Store {
            state: Mutex::new(State {
                objects: Objects(objects),
                log: VecDeque::new(),
                log_length,
                floor: revision,
                disk,
            }),
            revision: watch::Sender::new(revision),
        })
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.state.lock().objects.get(key).cloned()
    }

    /// The objects of a resource, in one namespace or all, and the revision at which they were so.
    pub(super) fn list(&self, resource: &str, namespace: &str) -> (u64, Vec<Arc<Value>>) {
        let state = self.state.lock();
        let objects = state.objects.list(resource, namespace).cloned().collect();
        (*self.revision.borrow(), objects)
    }

    pub(super) fn view<T>(&self, look: impl FnOnce(&Objects) -> T) -> T {
        look(&self.state.lock().objects)
    }

    pub(super) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Puts at `key` what `change` makes of the objects as they are: an object, or none to remove it.
    /// An object that is the same as before is not written. Gives the object as it now is, or last was.
    pub(super) fn write<E: From<Error>>(
        &self,
        key: &Key,
        change: impl FnOnce(&Objects) -> Result<Option<Value>, E>,
    ) -> Result<Arc<Value>, E> {
        let mut state = self.state.lock();
        let before = state.objects.get(key).cloned();
        let wanted = change(&state.objects)?;
        let keep = wanted.as_ref().is_some_and(|wanted| !object::is_finalized(wanted));
        let mut after = match (wanted, &before) {
            (Some(wanted), _) => wanted,
            (None, Some(before)) => Value::clone(before),
            (None, None) => return Ok(Arc::new(Value::Null)),
        };
        if let (true, Some(before)) = (keep, &before) {
            after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if after == **before {
                return Ok(before.clone());
            }
        }

        let revision = state.disk.next_revision(self.revision())?;
        after["metadata"]["resourceVersion"] = json!(revision.to_string());
        let after = Arc::new(after);
        if keep {
            state.disk.save(key, &after)?;
            state.objects.0.insert(key.clone(), after.clone());
        } else {
            state.disk.remove(key)?;
            state.objects.0.remove(key);
        }
        let change = match (keep, &before) {
            (true, None) => Some(Change::Added),
            (true, Some(_)) => Some(Change::Modified),
            (false, Some(_)) => Some(Change::Deleted),
            (false, None) => None,
        };
        if let Some(change) = change {
            state.record(Event { revision, change, key: key.clone(), object: after.clone(), before });
            self.revision.send_replace(revision);
        }
        Ok(after)
    }

    /// Changes `key`'s object if it exists; for the cluster's own parts, which need no checks.
    pub(super) fn edit(&self, key: &Key, edit: impl FnOnce(&mut Value)) -> Result<(), Error> {
        self.write(key, |objects| {
            Ok(objects.get(key).map(|object| {
                let mut object = Value::clone(object);
                edit(&mut object);
                object
            }))
        })
        .map(|_| ())
    }

    /// Follows the changes after `revision`.
    pub(super) fn follow(&self, revision: u64) -> Cursor<'_> {
        Cursor { store: self, changed: self.revision.subscribe(), after: revision }
    }
}

impl State {
    fn record(&mut self, event: Event) {
        if self.log.len() == self.log_length
            && let Some(oldest) = self.log.pop_front()
        {
            self.floor = oldest.revision;
        }
        self.log.push_back(Arc::new(event));
    }
}

pub(super) struct Objects(BTreeMap<Key, Arc<Value>>);

impl Objects {
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.0.get(key)
    }

    /// The objects of a resource, in one namespace, or in all if it is empty.
    pub(super) fn list(&self, resource: &str, namespace: &str) -> impl Iterator<Item = &Arc<Value>> {
        let from = Key::new(resource, namespace, "");
        let namespace = namespace.to_owned();
        let resource = resource.to_owned();
        self.0
            .range(from..)
            .take_while(move |(key, _)| {
                key.resource == resource && (namespace.is_empty() || key.namespace == namespace)
            })
            .map(|(_, object)| object)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.0.iter()
    }
}

pub(super) struct Cursor<'a> {
    store: &'a Store,
    changed: watch::Receiver<u64>,
    after: u64,
}

impl Cursor<'_> {
    /// Waits until something changed, then gives everything that did. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Vec<Arc<Event>>, Expired> {
        loop {
            self.changed.borrow_and_update();
            let events = self.pending()?;
            if let Some(last) = events.last() {
                self.after = last.revision;
                return Ok(events);
            }
            self.changed.changed().await.expect("the store, borrowed here, holds the sender");
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.after
    }

    fn pending(&self) -> Result<Vec<Arc<Event>>, Expired> {
        let state = self.store.state.lock();
        if self.after < state.floor {
            return Err(Expired);
        }
        let start = state.log.partition_point(|event| event.revision <= self.after);
        Ok(state.log.range(start..).cloned().collect())
    }
}

impl Key {
    pub(super) fn new(resource: &str, namespace: &str, name: &str) -> Key {
        Key { resource: resource.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}
