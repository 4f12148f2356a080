//! One watch feeds both a store, which reconciling reads, and the queue of what to reconcile.

use std::fmt::Debug;
use std::future::ready;
use std::hash::Hash;

use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::api::names;

/// What a watch saw, after the store has it.
pub(super) enum Change<K> {
    Applied(K),
    Deleted(K),
}

impl<K> Change<K> {
    pub(super) fn into_object(self) -> K {
        match self {
            Self::Applied(object) | Self::Deleted(object) => object,
        }
    }

    pub(super) fn into_applied(self) -> Option<K> {
        match self {
            Self::Applied(object) => Some(object),
            Self::Deleted(_) => None,
        }
    }
}

/// Tells the controller to look at everything again.
pub(super) type Relisted = mpsc::UnboundedSender<()>;

/// Watches `api` into a store. What a list brings is in the store only when it is whole, so a list yields no changes;
/// it is told to `relisted` when it is done.
pub(super) fn reflect<K>(
    api: Api<K>,
    config: watcher::Config,
    relisted: Relisted,
) -> (Store<K>, impl Stream<Item = watcher::Result<Change<K>>> + Send)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash,
{
    let (store, writer) = reflector::store();
    let changes = watcher(api, config.any_semantic())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .filter_map(move |event| {
            ready(match event {
                Ok(Event::Apply(object)) => Some(Ok(Change::Applied(object))),
                Ok(Event::Delete(object)) => Some(Ok(Change::Deleted(object))),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Ok(Event::InitDone) => {
                    // Nobody listens any more only when the controller is being dropped, this stream with it.
                    let _ = relisted.unbounded_send(());
                    None
                }
                Err(error) => Some(Err(error)),
            })
        });
    (store, changes)
}

/// Only what we made.
pub(super) fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY))
}
