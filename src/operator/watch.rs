//! One watch feeds both a store, which reconciling reads, and the queue of what to reconcile.

use std::fmt::Debug;
use std::future::ready;

use futures::channel::mpsc;
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::api::names;
use crate::telemetry::chain;
use crate::watch::{self, Unreadable};

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

/// Watches objects of a kind into a store, but for those that cannot be read.
pub(super) fn reflect<K>(
    client: &Client,
    config: watcher::Config,
    relisted: Relisted,
) -> (Store<K>, impl Stream<Item = Change<K>> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + Default + DeserializeOwned + Debug + Send + Sync + 'static,
{
    keep(watch::watch(client, config.any_semantic(), &Unreadable::default()), relisted)
}

/// Watches all objects of a kind of ours into a store, but for those that cannot be read.
pub(super) fn reflect_ours<K>(
    client: &Client,
    unreadable: &Unreadable,
    relisted: Relisted,
) -> (Store<K>, impl Stream<Item = Change<K>> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + Default + DeserializeOwned + Debug + Send + Sync + 'static,
{
    reflect_listed(client, unreadable, relisted, |_| {})
}

/// As [`reflect_ours`]; `listed` sees what lists bring, of which there are no changes.
pub(super) fn reflect_listed<K, F>(
    client: &Client,
    unreadable: &Unreadable,
    relisted: Relisted,
    listed: F,
) -> (Store<K>, impl Stream<Item = Change<K>> + Send + use<K, F>)
where
    K: Resource<DynamicType = ()> + Clone + Default + DeserializeOwned + Debug + Send + Sync + 'static,
    F: Fn(&K) + Send + 'static,
{
    let events = watch::watch(client, watch::in_pages(), unreadable).inspect(move |event| {
        if let Ok(Event::InitApply(object)) = event {
            listed(object);
        }
    });
    keep(events, relisted)
}

/// What a list brings is in the store only when it is whole, so a list yields no changes; it is told to `relisted` when
/// it is done. Errors end here: a controller that hears of one pauses all that it listens to, longer with each, and
/// after an outage each watch has one. Each waits for itself before it tries again.
fn keep<K, S>(events: S, relisted: Relisted) -> (Store<K>, impl Stream<Item = Change<K>> + Send)
where
    S: Stream<Item = watcher::Result<Event<K>>> + Send,
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changes =
        events.modify(|object| object.managed_fields_mut().clear()).reflect(writer).filter_map(move |event| {
            ready(match event {
                Ok(Event::Apply(object)) => Some(Change::Applied(object)),
                Ok(Event::Delete(object)) => Some(Change::Deleted(object)),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Ok(Event::InitDone) => {
                    // Nobody listens any more only when the controller is being dropped, this stream with it.
                    let _ = relisted.unbounded_send(());
                    None
                }
                Err(error) => {
                    warn!(kind = %K::kind(&()), error = chain(&error), "the watch broke; opening it again");
                    None
                }
            })
        });
    (store, changes)
}

/// That stores are whole, awaited by all that reconcile. Of several who await a store's own word of it only the last is
/// woken, and the others' objects would never be looked at; so one awaits it for all.
#[derive(Default)]
pub(super) struct Ready {
    stores: Vec<Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>>,
    all: OnceCell<()>,
}

impl Ready {
    /// The same, with the store among those that are awaited.
    pub(super) fn of<K, S>(&mut self, (store, changes): (Store<K>, S)) -> (Store<K>, S)
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let awaited = store.clone();
        self.stores.push(Box::new(move || {
            let store = awaited.clone();
            // It fails only when the watch is dropped, and then the one who asks is dropped too.
            async move { drop(store.wait_until_ready().await) }.boxed()
        }));
        (store, changes)
    }

    /// Until every watch has listed once: an empty store would mean "nothing there".
    pub(super) async fn once(&self) {
        self.all.get_or_init(|| async { drop(join_all(self.stores.iter().map(|whole| whole())).await) }).await;
    }
}

/// Only what we made.
pub(super) fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::poll;
    use futures::stream::FuturesUnordered;
    use k8s_openapi::api::core::v1::Pod;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_for_a_store_go_on_when_it_is_whole() {
        let (store, mut writer) = reflector::store::<Pod>();
        let mut ready = Ready::default();
        ready.of((store, ()));
        // Each has a waker of its own, as what reconciles has.
        let mut waiting: FuturesUnordered<_> = [(); 3].map(|()| ready.once()).into_iter().collect();
        assert!(poll!(waiting.next()).is_pending());
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        for _ in 0..3 {
            timeout(Duration::from_secs(10), waiting.next()).await.expect("it is woken").unwrap();
        }
    }
}
