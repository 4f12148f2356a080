//! The states of a pod's containers.

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

/// Each is written by its container's supervisor.
pub(super) struct Statuses {
    containers: Mutex<Vec<Value>>,
    changed: Notify,
}

impl Statuses {
    pub(super) fn new(containers: Vec<Value>) -> Self {
        Self { containers: Mutex::new(containers), changed: Notify::new() }
    }

    pub(super) fn edit(&self, index: usize, edit: impl FnOnce(&mut Value)) {
        let mut containers = self.containers.lock();
        edit(&mut containers[index]);
        self.changed.notify_one();
    }

    pub(super) fn read(&self) -> Vec<Value> {
        let containers = self.containers.lock();
        containers.clone()
    }

    /// Waits until one was written since this last returned.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
