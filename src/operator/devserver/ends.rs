//! The ends that were told of lately: a watch may bring the next pod before the status that tells of the last one.

use dashmap::DashMap;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

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
    use crate::operator::devserver::resolve::tests::server;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

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
}
