//! What the operator remembers of a DevServer between two looks at it. All of it may be lost: it only paces things.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;

use super::refusal::{Refusal, RefusalKind};
use crate::api::DevServer;
use crate::operator::Config;
use crate::operator::backoff::doubled;

#[derive(Default)]
pub(super) struct Memories(DashMap<ObjectRef<DevServer>, Memory>);

#[derive(Clone, Default)]
struct Memory {
    /// When the volume was first found unbound.
    waiting_since: Option<Instant>,
    /// When the last pod was made, and how many were made in a row that did not live long.
    made: Option<Instant>,
    in_a_row: u32,
    /// How often in a row the cluster would have no pod or home of it.
    refusals: u32,
    /// The last time.
    refused: Option<Refused>,
}

#[derive(Clone)]
struct Refused {
    asked: Asked,
    refusal: Refusal,
    /// It is not asked for again before then, whoever looks: a refusal is told in the status, whose change is looked at
    /// too.
    until: Instant,
}

/// What was asked for, in short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asked(u64);

impl Asked {
    pub(super) fn of(object: &impl Serialize) -> Self {
        let mut hasher = DefaultHasher::new();
        serde_json::to_vec(object).expect("our own objects have string keys and nothing that fails").hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Memories {
    /// Something was refused again; after how long it may be asked for anew.
    pub(super) fn refused(&self, key: &ObjectRef<DevServer>, asked: Asked, refusal: &Refusal) -> Duration {
        self.0.entry(key.clone()).or_default().refused(asked, refusal, Instant::now())
    }

    /// Why `asked` need not be asked for yet, and for how long.
    pub(super) fn still_refused(&self, key: &ObjectRef<DevServer>, asked: Asked) -> Option<(Refusal, Duration)> {
        self.0.get(key)?.still_refused(asked, Instant::now())
    }

    /// Whether nothing was refused so far: somebody may wait for it to be made at once.
    pub(super) fn waits_for_it(&self, key: &ObjectRef<DevServer>) -> bool {
        self.0.get(key).is_none_or(|memory| memory.refusals == 0)
    }

    /// There may be room by now.
    pub(super) fn may_be_had(&self, key: &ObjectRef<DevServer>) {
        if let Some(mut memory) = self.0.get_mut(key) {
            (memory.refusals, memory.refused) = (0, None);
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
        (memory.refusals, memory.refused) = (0, None);
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
    fn refused(&mut self, asked: Asked, refusal: &Refusal, now: Instant) -> Duration {
        let slower = |most| doubled(Duration::from_secs(1), most, self.refusals);
        let pause = match refusal.kind {
            // When a pod of hers goes, it is tried at once.
            RefusalKind::TooEarly | RefusalKind::Quota => slower(Duration::from_secs(30)),
            RefusalKind::NameTaken => Duration::from_secs(5),
            RefusalKind::Rejected => Duration::from_secs(60),
        };
        self.refusals = self.refusals.saturating_add(1);
        self.refused = Some(Refused { asked, refusal: refusal.clone(), until: now + pause });
        pause
    }

    fn still_refused(&self, asked: Asked, now: Instant) -> Option<(Refusal, Duration)> {
        let refused = self.refused.as_ref().filter(|refused| refused.asked == asked && now < refused.until)?;
        Some((refused.refusal.clone(), refused.until - now))
    }

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

    fn no(kind: RefusalKind) -> Refusal {
        Refusal { kind, message: "no".to_owned() }
    }

    #[test]
    fn what_is_refused_is_asked_for_more_and_more_seldom() {
        let now = Instant::now();
        let pauses = |kind| {
            let mut memory = Memory::default();
            [(); 7].map(|()| memory.refused(Asked(1), &no(kind), now).as_secs())
        };
        assert_eq!(pauses(RefusalKind::TooEarly), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pauses(RefusalKind::Quota), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!((pauses(RefusalKind::NameTaken), pauses(RefusalKind::Rejected)), ([5; 7], [60; 7]));
    }

    #[test]
    fn nobody_asks_for_it_again_before_its_time_unless_it_is_another() {
        let now = Instant::now();
        let mut memory = Memory::default();
        memory.refused(Asked(1), &no(RefusalKind::Rejected), now);
        let rest = |asked, second| {
            memory.still_refused(Asked(asked), now + Duration::from_secs(second)).map(|(_, rest)| rest.as_secs())
        };
        assert_eq!((rest(1, 0), rest(1, 59), rest(1, 60)), (Some(60), Some(1), None));
        assert_eq!(rest(2, 0), None, "the spec or the flavor changed");
        let (memories, key) = (Memories::default(), ObjectRef::<DevServer>::new("a").within("dev-alice"));
        assert!(memories.waits_for_it(&key));
        memories.refused(&key, Asked(1), &no(RefusalKind::Quota));
        assert!(memories.still_refused(&key, Asked(1)).is_some() && !memories.waits_for_it(&key));
        memories.may_be_had(&key);
        assert!(memories.still_refused(&key, Asked(1)).is_none() && memories.waits_for_it(&key));
    }

    #[test]
    fn refusals_are_counted_until_there_may_be_room_and_those_that_are_gone_are_forgotten() {
        let memories = Memories::default();
        let key = |name: &str| ObjectRef::<DevServer>::new(name).within("dev-alice");
        let refused = |name: &str| memories.refused(&key(name), Asked(1), &no(RefusalKind::Quota)).as_secs();
        assert_eq!([refused("a"), refused("a"), refused("b"), refused("a")], [1, 2, 1, 4]);
        memories.may_be_had(&key("a"));
        assert_eq!(refused("a"), 1);
        memories.made(&key("a"));
        assert_eq!(refused("a"), 1);
        memories.retain(|kept| *kept == key("a"));
        assert_eq!((refused("a"), refused("b")), (2, 1));
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
