//! The ends that were told of lately: a watch may bring the next pod before the status that tells of the last one.

use dashmap::DashMap;
use kube::runtime::reflector::ObjectRef;

use crate::api::{DevServer, LastEnd};

#[derive(Default)]
pub(super) struct Ends(DashMap<ObjectRef<DevServer>, LastEnd>);

impl Ends {
    /// The later of `end` and the one that was told of last.
    pub(super) fn newest(&self, key: &ObjectRef<DevServer>, end: Option<LastEnd>) -> Option<LastEnd> {
        let told = self.0.get(key).map(|told| told.clone());
        let newest = match (told, end) {
            (Some(told), Some(end)) if told.time.0 > end.time.0 => Some(told),
            (told, end) => end.or(told),
        };
        if let Some(newest) = &newest {
            self.0.insert(key.clone(), newest.clone());
        }
        newest
    }

    pub(super) fn forget(&self, key: &ObjectRef<DevServer>) {
        self.0.remove(key);
    }
}
