//! Pods that were told to go. The watch says so a moment later; who looked meanwhile would tell them to go once more,
//! or lead a login into one.

use std::sync::Arc;

use dashmap::DashMap;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::api::DevServer;

/// By their DevServers, which they are named after: the uid of the last one each.
#[derive(Default)]
pub(super) struct Going(DashMap<ObjectRef<DevServer>, String>);

impl Going {
    /// The API server took the deletion of `pod`.
    pub(super) fn told(&self, pod: &Pod) {
        let key = ObjectRef::new(&pod.name_any()).within(&pod.namespace().unwrap_or_default());
        self.0.insert(key, pod.uid().unwrap_or_default());
    }

    pub(super) fn forget(&self, key: &ObjectRef<DevServer>) {
        self.0.remove(key);
    }

    pub(super) fn retain(&self, keep: impl Fn(&ObjectRef<DevServer>) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    /// The pod that the watch knows of, as it is by now.
    pub(super) fn seen(&self, key: &ObjectRef<DevServer>, pod: Option<Arc<Pod>>) -> Option<Arc<Pod>> {
        let stays =
            |pod: &Arc<Pod>, uid: &String| pod.metadata.deletion_timestamp.is_none() && pod.uid().as_ref() == Some(uid);
        let is_behind = self.0.get(key).is_some_and(|uid| pod.as_ref().is_some_and(|pod| stays(pod, &uid)));
        if !is_behind {
            self.0.remove(key);
            return pod;
        }
        let mut pod = Arc::unwrap_or_clone(pod?);
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
        Some(Arc::new(pod))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({ "metadata": { "name": "dev", "namespace": "dev-alice", "uid": uid } }))
                .unwrap(),
        )
    }

    /// Regression: whoever woke a DevServer at the moment at which its pod was deleted was led into that pod.
    #[test]
    fn a_pod_that_was_told_to_go_goes_though_the_watch_is_late() {
        let (going, key) = (Going::default(), ObjectRef::new("dev").within("dev-alice"));
        let goes =
            |pod: Option<Arc<Pod>>| going.seen(&key, pod).is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
        assert!(!goes(Some(pod("1"))));
        going.told(&pod("1"));
        assert!(goes(Some(pod("1"))) && goes(Some(pod("1"))));
        assert!(!goes(Some(pod("2"))), "the next one stays");
        assert!(going.0.is_empty(), "nothing is kept for ever");
        going.told(&pod("2"));
        assert!(going.seen(&key, None).is_none() && going.0.is_empty());
    }
}
