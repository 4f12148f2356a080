//! Events about a DevServer that does not run yet: only they tell a pull from a mount, and why a volume is not made.
//! Watched per namespace and only as long as needed; all events of a cluster are far too many.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::api::{DevServer, names};

pub(super) struct EventWatches {
    client: Client,
    watches: DashMap<ObjectRef<DevServer>, AbortOnDropHandle<()>>,
    notes: Arc<DashMap<ObjectRef<DevServer>, Vec<Note>>>,
    changed: UnboundedSender<ObjectRef<DevServer>>,
}

/// The last event of one reason about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Whom it is about.
    pub(super) uid: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) at: Option<Timestamp>,
    /// Whether it is about the container that sessions run in, not about another or the pod.
    pub(super) is_about_container: bool,
}

impl EventWatches {
    /// The receiver hears which DevServer has a new note.
    pub(super) fn new(client: Client) -> (Self, UnboundedReceiver<ObjectRef<DevServer>>) {
        let (changed, told) = unbounded();
        (Self { client, watches: DashMap::new(), notes: Arc::default(), changed }, told)
    }

    /// What was noted, oldest first.
    pub(super) fn notes(&self, key: &ObjectRef<DevServer>) -> Vec<Note> {
        let mut notes = self.notes.get(key).map(|notes| notes.clone()).unwrap_or_default();
        notes.sort_by_key(|note| note.at);
        notes
    }

    /// Begins to watch, unless it does already: at once, or when it takes longer than most.
    pub(super) fn follow(&self, key: &ObjectRef<DevServer>, at_once: bool) {
        let patience = if at_once { Duration::ZERO } else { PATIENCE };
        self.watches.entry(key.clone()).or_insert_with(|| {
            let task = follow(self.client.clone(), key.clone(), patience, self.notes.clone(), self.changed.clone());
            AbortOnDropHandle::new(tokio::spawn(task))
        });
    }

    /// Notes what there is now, which a watch may hear of only later.
    pub(super) async fn look(&self, key: &ObjectRef<DevServer>) -> kube::Result<()> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), key.namespace.as_deref().unwrap_or_default());
        let events = events.list(&ListParams::default()).await?;
        let mut notes = self.notes.entry(key.clone()).or_default();
        for event in events.items.iter().filter(|event| is_about(key, event)) {
            note(&mut notes, event);
        }
        Ok(())
    }

    pub(super) fn unfollow(&self, key: &ObjectRef<DevServer>) {
        self.watches.remove(key);
        self.notes.remove(key);
    }
}

async fn follow(
    client: Client,
    key: ObjectRef<DevServer>,
    patience: Duration,
    notes: Arc<DashMap<ObjectRef<DevServer>, Vec<Note>>>,
    changed: UnboundedSender<ObjectRef<DevServer>>,
) {
    // Most pods run before this is over and cost no watch.
    tokio::time::sleep(patience).await;
    let events: Api<Event> = Api::namespaced(client, key.namespace.as_deref().unwrap_or_default());
    let mut stream = std::pin::pin!(watcher(events, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if is_about(&key, &event) && note(&mut notes.entry(key.clone()).or_default(), &event) {
                    // The controller listens as long as this task is allowed to live.
                    let _ = changed.unbounded_send(key.clone());
                }
            }
            Err(error) => debug!(namespace = key.namespace, %error, "failed to watch events"),
        }
    }
}

/// Whether it is about its pod or its home.
fn is_about(key: &ObjectRef<DevServer>, event: &Event) -> bool {
    let about = &event.involved_object;
    match about.kind.as_deref() {
        Some("Pod") => about.name.as_deref() == Some(&key.name),
        Some("PersistentVolumeClaim") => about.name.as_deref() == Some(&names::home_claim(&key.name)),
        _ => false,
    }
}

/// Whether there is something new.
fn note(notes: &mut Vec<Note>, event: &Event) -> bool {
    let new = Note {
        uid: event.involved_object.uid.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        at: event
            .last_timestamp
            .as_ref()
            .map(|time| time.0)
            .or_else(|| event.event_time.as_ref().map(|time| time.0))
            .or_else(|| event.creation_timestamp().map(|time| time.0)),
        is_about_container: event.involved_object.field_path.as_deref() == Some(CONTAINER_PATH),
    };
    let is_same = |old: &&mut Note| {
        old.uid == new.uid && old.reason == new.reason && old.is_about_container == new.is_about_container
    };
    match notes.iter_mut().find(is_same) {
        Some(old) if *old == new => false,
        Some(old) => {
            *old = new;
            true
        }
        None => {
            notes.push(new);
            true
        }
    }
}

/// As the kubelet names [`names::CONTAINER`] in an event's object.
const CONTAINER_PATH: &str = "spec.containers{devserver}";

/// A pod whose image is on the node runs within a second.
const PATIENCE: Duration = Duration::from_millis(1200);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_event_of_a_reason_is_kept() {
        let event = |reason: &str, message: &str| -> Event {
            serde_json::from_value(json!({
                "involvedObject": { "kind": "Pod", "name": "dev", "uid": "u" },
                "metadata": {}, "reason": reason, "message": message
            }))
            .unwrap()
        };
        let mut notes = Vec::new();
        assert!(note(&mut notes, &event("Pulling", "one")));
        assert!(!note(&mut notes, &event("Pulling", "one")));
        assert!(note(&mut notes, &event("FailedMount", "no disk")));
        assert!(note(&mut notes, &event("Pulling", "two")));
        let messages: Vec<&str> = notes.iter().map(|note| note.message.as_str()).collect();
        assert_eq!(messages, ["two", "no disk"]);
    }
}
