//! What is kept of several kinds of objects, each by a watch of its own, for one who looks at all of it when it
//! changes.

use std::time::Instant;

use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::watcher::{self, Event};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::mirror::Mirror;
use crate::telemetry::chain;

pub(super) struct Watched<S> {
    known: Mutex<S>,
    /// Notified when something is known that was not.
    pub(super) changed: Notify,
}

impl<S> Watched<S> {
    pub(super) fn new(known: S) -> Self {
        Self { known: Mutex::new(known), changed: Notify::new() }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, S> {
        self.known.lock()
    }

    /// Follows a watch, keeping of each object what `keep` makes of it. `what` is watched, for the log.
    pub(super) async fn follow<K: Resource, V>(
        &self,
        what: &str,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        mirror: impl Fn(&mut S) -> &mut Mirror<V>,
        keep: impl Fn(K) -> Option<V>,
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if mirror(&mut self.known()).take(event, &keep) {
                        self.changed.notify_one();
                    }
                }
                Err(error) => {
                    if mirror(&mut self.known()).failed(Instant::now()) {
                        warn!(error = chain(&error), "failed to watch {what}; trying again");
                    } else {
                        debug!(error = chain(&error), "failed to watch {what}");
                    }
                    self.changed.notify_one();
                }
            }
        }
    }
}
