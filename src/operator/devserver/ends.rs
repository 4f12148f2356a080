//! The ends that were told of lately: a watch may bring the next pod before the status that tells of the last one. And
//! those of pods that are gone: one may go before anybody looked at why.

use dashmap::DashMap;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::status::end_of_gone;
use crate::api::{DevServer, LastEnd};

/// Each with the uid of its DevServer: another one of that name has had no end yet.
#[derive(Default)]
pub(super) struct Ends(DashMap<ObjectRef<DevServer>, (String, LastEnd)>);

impl Ends {
    /// The later of `end` and the one that was told of last.
    pub(super) fn newest(&self, server: &DevServer, end: Option<LastEnd>) -> Option<LastEnd> {
        let (key, uid) = (ObjectRef::from_obj(server), server.uid().unwrap_or_default());
        let told = self.0.get(&key).filter(|told| told.0 == uid).map(|told| told.1.clone());
        let newest = match (told, end) {
            (Some(told), Some(end)) if told.time.0 > end.time.0 => Some(told),
            (told, end) => end.or(told),
        };
        if let Some(newest) = &newest {
            self.0.insert(key, (uid, newest.clone()));
        }
        newest
    }

    /// Notes how a pod ended that is gone, as it was last.
    pub(super) fn gone(&self, pod: &Pod) {
        let Some(end) = end_of_gone(pod) else { return };
        let namespace = pod.namespace().unwrap_or_default();
        for owner in pod.owner_references().iter().filter(|owner| owner.kind == DevServer::kind(&())) {
            let key = ObjectRef::new(&owner.name).within(&namespace);
            let known = self.0.get(&key).filter(|known| known.0 == owner.uid).map(|known| known.1.time.0);
            if known.is_none_or(|known| known < end.time.0) {
                self.0.insert(key, (owner.uid.clone(), end.clone()));
            }
        }
    }

    pub(super) fn forget(&self, key: &ObjectRef<DevServer>) {
        self.0.remove(key);
    }

    pub(super) fn retain(&self, keep: impl Fn(&ObjectRef<DevServer>) -> bool) {
        self.0.retain(|key, _| keep(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DevServerSpec;
    use crate::operator::devserver::build::test_pod as pod;
    use crate::operator::devserver::resolve::tests::server;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn another_of_that_name_is_not_told_of_the_ends_of_the_one_before() {
        let end = |second| LastEnd {
            time: Time(Timestamp::from_second(second).unwrap()),
            reason: "Evicted".to_owned(),
            message: "its node had no room".to_owned(),
        };
        let ends = Ends::default();
        let first = server(DevServerSpec::default());
        assert_eq!(ends.newest(&first, Some(end(2))), Some(end(2)));
        assert_eq!(ends.newest(&first, Some(end(1))), Some(end(2)), "what the watch brings is behind");
        let mut second = first;
        second.metadata.uid = Some("uid-2".to_owned());
        assert_eq!(ends.newest(&second, None), None);
        assert_eq!(ends.newest(&second, Some(end(1))), Some(end(1)));
    }

    /// A pod was evicted and gone within milliseconds, and nobody was told why.
    #[test]
    fn a_pod_that_is_gone_tells_how_it_ended() {
        let server = server(DevServerSpec::default());
        let mut pod = pod(DevServerSpec::default());
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(900).unwrap()));
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        let ended = serde_json::json!([{
            "name": "devserver", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 143, "startedAt": at(1), "finishedAt": at(2) } }
        }]);
        pod.status = serde_json::from_value(serde_json::json!({ "containerStatuses": ended })).unwrap();
        let ends = Ends::default();
        ends.gone(&pod);
        assert_eq!(ends.newest(&server, None), None, "it was deleted, and its node took its time to clear it away");
        let conditions = serde_json::json!([{
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "lastTransitionTime": at(5)
        }]);
        pod.status = serde_json::from_value(serde_json::json!({ "conditions": conditions })).unwrap();
        ends.gone(&pod);
        let end = ends.newest(&server, None).unwrap();
        assert_eq!((end.reason.as_str(), end.time.0.as_second()), ("Evicted", 5));
        pod.metadata.owner_references.as_mut().unwrap()[0].uid = "uid-0".to_owned();
        let ends = Ends::default();
        ends.gone(&pod);
        assert_eq!(ends.newest(&server, None), None, "an earlier one's");
    }
}
