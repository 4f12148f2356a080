//! What the operator remembers of a DevServer between two looks at it. All of it may be lost: it only paces things.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use kube::runtime::reflector::ObjectRef;

use crate::api::DevServer;
use crate::operator::Config;
use crate::operator::backoff::doubled;

#[derive(Default)]
pub(super) struct Memories(DashMap<ObjectRef<DevServer>, Memory>);

#[derive(Clone, Copy, Default)]
struct Memory {
    /// When the volume was first found unbound.
    waiting_since: Option<Instant>,
    /// When the last pod was made, and how many were made in a row that did not live long.
    made: Option<Instant>,
    in_a_row: u32,
    /// How often in a row the cluster would have no pod or home of it.
    refusals: u32,
}

impl Memories {
    /// Something was refused again; how often it was before.
    pub(super) fn refused(&self, key: &ObjectRef<DevServer>) -> u32 {
        let mut memory = self.0.entry(key.clone()).or_default();
        let before = memory.refusals;
        memory.refusals = before.saturating_add(1);
        before
    }

    /// There may be room by now.
    pub(super) fn may_be_had(&self, key: &ObjectRef<DevServer>) {
        if let Some(mut memory) = self.0.get_mut(key) {
            memory.refusals = 0;
        }
    }

    /// How much longer to wait for the volume.
    pub(super) fn patience(&self, key: &ObjectRef<DevServer>, config: &Config) -> Duration {
        let mut memory = self.0.entry(key.clone()).or_default();
        let since = *memory.waiting_since.get_or_insert_with(Instant::now);
        config.volume_wait.saturating_sub(since.elapsed())
    }

    /// How long until the next pod may be made.
    pub(super) fn pause(&self, key: &ObjectRef<DevServer>, config: &Config) -> Duration {
        self.0.get(key).map_or(Duration::ZERO, |memory| memory.pause(Instant::now(), config))
    }

    /// A pod was made. One that only follows a changed spec does not count as one that died.
    pub(super) fn made(&self, key: &ObjectRef<DevServer>) {
        let mut memory = self.0.entry(key.clone()).or_default();
        memory.waiting_since = None;
        memory.refusals = 0;
        memory.pod_made(Instant::now());
    }

    /// The pod goes because its spec changed, not because it died.
    pub(super) fn replaced(&self, key: &ObjectRef<DevServer>) {
        self.0.remove(key);
    }

    pub(super) fn forget(&self, key: &ObjectRef<DevServer>) {
        self.0.remove(key);
    }

    pub(super) fn retain(&self, keep: impl Fn(&ObjectRef<DevServer>) -> bool) {
        self.0.retain(|key, _| keep(key));
    }
}

impl Memory {
    fn pause(&self, now: Instant, config: &Config) -> Duration {
        let Some(made) = self.made else { return Duration::ZERO };
        let age = now.saturating_duration_since(made);
        // The first pod that dies is followed at once.
        if self.in_a_row < 2 || age >= LONG_LIFE {
            return Duration::ZERO;
        }
        doubled(config.restart_pause, config.max_restart_pause, self.in_a_row - 2).saturating_sub(age)
    }

    fn pod_made(&mut self, now: Instant) {
        let lived_long = self.made.is_none_or(|made| now.saturating_duration_since(made) >= LONG_LIFE);
        self.in_a_row = if lived_long { 1 } else { self.in_a_row + 1 };
        self.made = Some(now);
    }
}

/// A pod that lived so long did not die of what killed the one before it.
const LONG_LIFE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::tests::config;

    #[test]
    fn refusals_are_counted_until_there_may_be_room_and_those_that_are_gone_are_forgotten() {
        let memories = Memories::default();
        let key = |name: &str| ObjectRef::<DevServer>::new(name).within("dev-alice");
        let refused = |name: &str| memories.refused(&key(name));
        assert_eq!([refused("a"), refused("a"), refused("b"), refused("a")], [0, 1, 0, 2]);
        memories.may_be_had(&key("a"));
        assert_eq!(refused("a"), 0);
        memories.made(&key("a"));
        assert_eq!(refused("a"), 0);
        memories.retain(|kept| *kept == key("a"));
        assert_eq!((refused("a"), refused("b")), (1, 0));
    }

    #[test]
    fn pods_that_die_young_are_followed_more_and_more_slowly() {
        let config = config();
        let mut now = Instant::now();
        let mut memory = Memory::default();
        let mut pauses = Vec::new();
        for _ in 0..5 {
            memory.pod_made(now);
            pauses.push(memory.pause(now, &config).as_secs());
            now += memory.pause(now, &config);
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8]);
        for _ in 0..40 {
            memory.pod_made(now);
            assert!(memory.pause(now, &config) <= config.max_restart_pause);
        }
        now += LONG_LIFE;
        assert_eq!(memory.pause(now, &config), Duration::ZERO);
        memory.pod_made(now);
        assert_eq!(memory.pause(now, &config), Duration::ZERO);
    }
}
