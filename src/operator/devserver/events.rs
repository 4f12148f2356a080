//! Events about a DevServer that does not run yet: only they tell a pull from a mount, and why a volume is not made.
//! Watched per namespace and only as long as needed; all events of a cluster are far too many.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::api::{DevServer, names};
use crate::event::last_time;
use crate::telemetry::chain;

pub(super) struct EventWatches {
    client: Client,
    /// By namespace, as are those of `heard`: one watch, however many DevServers wait.
    watches: DashMap<String, Watch>,
    heard: Arc<DashMap<String, Heard>>,
    changed: UnboundedSender<ObjectRef<DevServer>>,
}

struct Watch {
    _task: AbortOnDropHandle<()>,
    /// It waited for nothing.
    at_once: bool,
}

/// What a namespace's events told while they were watched.
#[derive(Default)]
struct Heard {
    /// The DevServers that do not run yet.
    followed: HashSet<String>,
    /// By DevServer. Also about those that are not followed: they may be a moment later, and no event comes twice.
    notes: HashMap<String, Vec<Note>>,
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
        (Self { client, watches: DashMap::new(), heard: Arc::default(), changed }, told)
    }

    /// What was noted of one that is followed, oldest first.
    pub(super) fn notes(&self, key: &ObjectRef<DevServer>) -> Vec<Note> {
        self.heard.get(namespace_of(key)).map(|heard| heard.about(&key.name)).unwrap_or_default()
    }

    /// Begins to watch, unless it does already: at once, or when it takes longer than most.
    pub(super) fn follow(&self, key: &ObjectRef<DevServer>, at_once: bool) {
        let namespace = namespace_of(key);
        // Held until there is a watch: who follows the last of the others no more must not take it away meanwhile.
        let mut of_namespace = self.heard.entry(namespace.to_owned()).or_default();
        of_namespace.followed.insert(key.name.clone());
        if self.watches.get(namespace).is_some_and(|watch| watch.at_once || !at_once) {
            return;
        }
        let patience = if at_once { Duration::ZERO } else { PATIENCE };
        let (heard, changed) = (self.heard.clone(), self.changed.clone());
        let task = listen(self.client.clone(), namespace.to_owned(), patience, heard, changed);
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        self.watches.insert(namespace.to_owned(), Watch { _task: task, at_once });
    }

    /// Notes what there is now, which a watch may hear of only later. It is known until the DevServer is followed no
    /// more.
    pub(super) async fn look(&self, key: &ObjectRef<DevServer>) -> kube::Result<()> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace_of(key));
        let events = events.list(&ListParams::default()).await?;
        let mut heard = self.heard.entry(namespace_of(key).to_owned()).or_default();
        heard.followed.insert(key.name.clone());
        for event in &events.items {
            heard.hear(event);
        }
        Ok(())
    }

    pub(super) fn unfollow(&self, key: &ObjectRef<DevServer>) {
        self.retain_in(namespace_of(key), |name| *name != key.name);
    }

    /// Goes on with those alone.
    pub(super) fn retain(&self, keep: impl Fn(&ObjectRef<DevServer>) -> bool) {
        let namespaces: Vec<String> = self.heard.iter().map(|heard| heard.key().clone()).collect();
        for namespace in namespaces {
            self.retain_in(&namespace, |name| keep(&ObjectRef::new(name).within(&namespace)));
        }
    }

    /// The last that is followed takes the watch with it.
    fn retain_in(&self, namespace: &str, keep: impl Fn(&String) -> bool) {
        self.heard.remove_if_mut(namespace, |_, heard| {
            heard.followed.retain(&keep);
            let is_over = heard.followed.is_empty();
            if is_over {
                self.watches.remove(namespace);
            }
            is_over
        });
    }
}

impl Heard {
    fn about(&self, name: &str) -> Vec<Note> {
        let mut notes = self.notes.get(name).filter(|_| self.followed.contains(name)).cloned().unwrap_or_default();
        notes.sort_by_key(|note| note.at);
        notes
    }

    /// The DevServer that is followed and of which the event tells something new.
    fn hear(&mut self, event: &Event) -> Option<String> {
        let about = &event.involved_object;
        let name = match about.kind.as_deref()? {
            "Pod" => about.name.as_deref()?,
            "PersistentVolumeClaim" => names::devserver_of_home(about.name.as_deref()?)?,
            _ => return None,
        };
        let notes = self.notes.entry(name.to_owned()).or_default();
        let is_new = note(notes, event);
        if notes.len() > MOST_NOTES {
            notes.remove(0);
        }
        (is_new && self.followed.contains(name)).then(|| name.to_owned())
    }
}

async fn listen(
    client: Client,
    namespace: String,
    patience: Duration,
    heard: Arc<DashMap<String, Heard>>,
    changed: UnboundedSender<ObjectRef<DevServer>>,
) {
    // Most pods run before this is over and cost no watch.
    tokio::time::sleep(patience).await;
    let events: Api<Event> = Api::namespaced(client, &namespace);
    let mut stream = std::pin::pin!(watcher(events, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                let news = heard.get_mut(&namespace).and_then(|mut heard| heard.hear(&event));
                if let Some(name) = news {
                    // The controller listens as long as this task is allowed to live.
                    let _ = changed.unbounded_send(ObjectRef::new(&name).within(&namespace));
                }
            }
            Err(error) => debug!(namespace, error = chain(&error), "failed to watch events"),
        }
    }
}

fn namespace_of(key: &ObjectRef<DevServer>) -> &str {
    key.namespace.as_deref().unwrap_or_default()
}

/// Whether there is something new.
fn note(notes: &mut Vec<Note>, event: &Event) -> bool {
    // Of an image that it cannot pull a kubelet tells twice; the second time without the cause.
    if matches!(event.message.as_deref(), Some("Error: ErrImagePull" | "Error: ImagePullBackOff")) {
        return false;
    }
    let new = Note {
        uid: event.involved_object.uid.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        at: last_time(event),
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

/// Of one DevServer: more than a pod on its way is told of. The watch may go on for others' sake.
const MOST_NOTES: usize = 64;

/// A pod whose image is on the node runs within a second.
const PATIENCE: Duration = Duration::from_millis(1200);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event_about(kind: &str, name: &str, reason: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "involvedObject": { "kind": kind, "name": name, "uid": "u" },
            "metadata": {}, "reason": reason, "message": message
        }))
        .unwrap()
    }

    #[test]
    fn what_was_told_of_one_before_it_was_followed_is_known() {
        let mut heard = Heard { followed: ["dev".to_owned()].into(), ..Heard::default() };
        let tell = |heard: &mut Heard, kind, name| heard.hear(&event_about(kind, name, "FailedMount", "no disk"));
        assert_eq!(tell(&mut heard, "Pod", "dev").as_deref(), Some("dev"));
        assert_eq!(tell(&mut heard, "Pod", "dev"), None, "nothing new");
        assert_eq!(tell(&mut heard, "PersistentVolumeClaim", "train-home"), None, "nobody waits for it");
        assert_eq!(tell(&mut heard, "Job", "dev"), None);
        assert!(heard.about("train").is_empty());
        heard.followed.insert("train".to_owned());
        assert_eq!((heard.about("dev").len(), heard.about("train").len()), (1, 1));
    }

    #[tokio::test]
    async fn a_namespace_is_watched_once_and_as_long_as_anybody_waits() {
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::ready(Err::<http::Response<kube::client::Body>, _>("nobody is there"))
        });
        let (watches, _told) = EventWatches::new(Client::new(nobody, "default"));
        let key = |name: &str| ObjectRef::<DevServer>::new(name).within("dev-alice");
        for name in ["a", "b", "c"] {
            watches.follow(&key(name), name == "b");
        }
        assert_eq!(watches.watches.len(), 1);
        watches.unfollow(&key("b"));
        watches.retain(|kept| *kept == key("c"));
        assert_eq!(watches.watches.len(), 1);
        watches.unfollow(&key("never"));
        watches.unfollow(&key("c"));
        assert!(watches.watches.is_empty() && watches.heard.is_empty());
    }

    #[test]
    fn the_last_event_of_a_reason_is_kept() {
        let event = |reason: &str, message: &str| event_about("Pod", "dev", reason, message);
        let mut notes = Vec::new();
        assert!(note(&mut notes, &event("Pulling", "one")));
        assert!(!note(&mut notes, &event("Pulling", "one")));
        assert!(note(&mut notes, &event("FailedMount", "no disk")));
        assert!(note(&mut notes, &event("Pulling", "two")));
        let messages: Vec<&str> = notes.iter().map(|note| note.message.as_str()).collect();
        assert_eq!(messages, ["two", "no disk"]);
    }

    #[test]
    fn the_cause_of_an_image_that_cannot_be_pulled_is_kept() {
        let mut notes = Vec::new();
        let cause = r#"Failed to pull image "x": not found"#;
        assert!(note(&mut notes, &event_about("Pod", "dev", "Failed", cause)));
        for less in ["Error: ErrImagePull", "Error: ImagePullBackOff"] {
            assert!(!note(&mut notes, &event_about("Pod", "dev", "Failed", less)));
        }
        assert_eq!(notes[0].message, cause);
    }
}
