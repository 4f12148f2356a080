//! What is kept of the objects that a watch brings: far less than the objects.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

pub(super) struct Mirror<V> {
    live: HashMap<String, V>,
    /// What a list has brought so far; it takes the place of `live` when it is whole.
    listed: HashMap<String, V>,
    is_whole: bool,
    /// Since when its watch fails, and when it last did.
    failing: Option<(Instant, Instant)>,
}

/// A watch that did not fail for so long runs: its tries come ever more slowly, up to half a minute. It says nothing by
/// itself until something changes.
const TRIES: Duration = Duration::from_secs(45);
/// A watch that fails for so long tells nothing any more.
const PATIENCE: Duration = Duration::from_mins(1);

impl<V> Default for Mirror<V> {
    fn default() -> Self {
        Self { live: HashMap::new(), listed: HashMap::new(), is_whole: false, failing: None }
    }
}

impl<V> Mirror<V> {
    /// Whether every object is known.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.live.values()
    }

    /// Its watch failed; whether that is news.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let known = self.failing.filter(|(_, last)| now.saturating_duration_since(*last) < TRIES);
        self.failing = Some((known.map_or(now, |(since, _)| since), now));
        known.is_none()
    }

    /// Whether it failed and has not brought anything since.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Whether what is known may have long been otherwise.
    pub(super) fn is_blind(&self, now: Instant) -> bool {
        self.failing.is_some_and(|(since, last)| {
            now.saturating_duration_since(last) < TRIES && now.saturating_duration_since(since) >= PATIENCE
        })
    }

    /// Takes an event in, keeping of its object what `keep` makes of it; whether what is known may have changed.
    pub(super) fn take<K: Resource>(&mut self, event: Event<K>, keep: &impl Fn(K) -> Option<V>) -> bool {
        match event {
            // That a list begins, not that it can be had.
            Event::Init => {
                self.listed.clear();
                return false;
            }
            Event::InitApply(object) => {
                put(&mut self.listed, object, keep);
                return false;
            }
            Event::InitDone => {
                self.live = std::mem::take(&mut self.listed);
                self.is_whole = true;
            }
            Event::Apply(object) => put(&mut self.live, object, keep),
            Event::Delete(object) => drop(self.live.remove(&key(&object))),
        }
        self.failing = None;
        true
    }
}

fn put<K: Resource, V>(into: &mut HashMap<String, V>, object: K, keep: &impl Fn(K) -> Option<V>) {
    let key = key(&object);
    match keep(object) {
        Some(kept) => drop(into.insert(key, kept)),
        None => drop(into.remove(&key)),
    }
}

fn key(object: &impl Resource) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(name: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod
    }

    #[test]
    fn a_watch_that_fails_for_long_tells_nothing_any_more() {
        let mut mirror: Mirror<()> = Mirror::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        assert!(mirror.failed(at(0)) && !mirror.failed(at(30)) && !mirror.is_blind(at(59)));
        mirror.take(Event::<Pod>::Init, &|_| None);
        assert!(mirror.is_blind(at(60)) && !mirror.is_blind(at(75)), "it has not failed again");
        assert!(mirror.failed(at(80)) && !mirror.is_blind(at(124)), "that is another failure");
        assert!(!mirror.failed(at(124)) && !mirror.failed(at(141)) && mirror.is_blind(at(141)));
        mirror.take(Event::<Pod>::InitDone, &|_| None);
        assert!(!mirror.is_blind(at(142)) && !mirror.is_failing());
    }

    #[test]
    fn a_list_takes_the_place_of_what_was_known_when_it_is_whole() {
        let mut mirror: Mirror<String> = Mirror::default();
        let keep = |pod: Pod| Some(pod.name_any()).filter(|name| name != "never");
        let names = |mirror: &Mirror<String>| {
            let mut names: Vec<String> = mirror.values().cloned().collect();
            names.sort();
            names
        };
        assert!(!mirror.take(Event::Init, &keep) && !mirror.take(Event::InitApply(pod("a")), &keep));
        assert!(!mirror.is_whole() && names(&mirror).is_empty());
        assert!(mirror.take(Event::InitDone, &keep) && mirror.is_whole());
        assert!(mirror.take(Event::Apply(pod("b")), &keep));
        assert!(mirror.take(Event::Apply(pod("never")), &keep));
        assert_eq!(names(&mirror), ["a", "b"]);
        assert!(mirror.take(Event::Delete(pod("a")), &keep));
        assert_eq!(names(&mirror), ["b"]);
        mirror.take(Event::<Pod>::Init, &keep);
        mirror.take(Event::InitApply(pod("c")), &keep);
        assert_eq!(names(&mirror), ["b"], "while the watch is opened again, what was known stands");
        mirror.take(Event::<Pod>::InitDone, &keep);
        assert_eq!(names(&mirror), ["c"]);
    }
}
