use jiff::ToSpan;
use serde_json::{Value, json};

use super::*;
use crate::api::DevServerSpec;
use crate::operator::devserver::resolve::tests::server;
use crate::operator::tests::config;

fn t(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + minutes.minutes()
}

fn settings(change: impl FnOnce(&mut LifecycleConfig)) -> LifecycleConfig {
    let mut settings = config().lifecycle;
    change(&mut settings);
    settings
}

/// A DevServer as time goes by: what is decided becomes its status, as the operator writes it.
struct Scene {
    server: DevServer,
    config: LifecycleConfig,
    allowed: Option<Duration>,
}

impl Scene {
    fn new(lifecycle: Value) -> Self {
        let lifecycle = serde_json::from_value(lifecycle).unwrap();
        let server = server(DevServerSpec { lifecycle: Some(lifecycle), ..DevServerSpec::default() });
        Self { server, config: config().lifecycle, allowed: None }
    }

    /// Looks at it `minutes` after the beginning; one that is due is marked at once.
    fn look(&mut self, minutes: i64, usage: &Usage) -> Life {
        let decide = |server: &DevServer| decide(server, usage, self.allowed, &self.config, t(minutes));
        let mut life = decide(&self.server);
        if life.state == State::Due {
            self.set(|lifecycle| lifecycle.suspended = true);
            life = decide_again(self, usage, minutes);
        }
        self.server.status = Some(DevServerStatus {
            phase: if life.state == State::Asleep { Phase::Suspended } else { Phase::Running },
            start_time: life.start_time.clone(),
            expiration_time: life.expiration_time.clone(),
            suspension: life.suspension.clone(),
            ..DevServerStatus::default()
        });
        life
    }

    fn set(&mut self, change: impl FnOnce(&mut Lifecycle)) {
        change(self.server.spec.lifecycle.get_or_insert_default());
    }
}

fn decide_again(scene: &Scene, usage: &Usage, minutes: i64) -> Life {
    decide(&scene.server, usage, scene.allowed, &scene.config, t(minutes))
}

fn busy() -> Usage {
    Usage::Busy("cpu")
}

fn unknown() -> Usage {
    Usage::Unknown("x".to_owned())
}

#[track_caller]
fn is_planned(life: &Life, minutes: i64, reason: SuspensionReason) {
    assert_eq!(life.state, State::Awake);
    let planned = life.suspension.as_ref().expect("a suspension is planned");
    assert_eq!((planned.time.0, planned.reason), (t(minutes), reason));
}

#[test]
fn it_runs_for_its_time_is_announced_and_suspended_after_a_grace() {
    let mut dev = Scene::new(json!({ "timeToLive": "4h" }));
    let life = dev.look(0, &busy());
    assert_eq!(life.start_time, Some(Time(t(0))));
    assert_eq!(life.expiration_time, Some(Time(t(240))));
    assert_eq!((life.state, life.suspension), (State::Awake, None));
    assert_eq!(life.look_again, Some(BUSY_LOOK));

    is_planned(&dev.look(212, &busy()), 242, SuspensionReason::Expired);
    let life = dev.look(241, &busy());
    is_planned(&life, 242, SuspensionReason::Expired);
    assert!(life.suspension.unwrap().sentence().contains("2027-01-15 12:00 UTC; `devctl extend dev"));

    let life = dev.look(242, &busy());
    assert_eq!((life.state, life.start_time, life.expiration_time), (State::Asleep, None, None));
    let sleep = life.suspension.unwrap();
    assert_eq!((sleep.time.0, sleep.reason), (t(242), SuspensionReason::Expired));
    assert_eq!(sleep.message, "its time was over at 2027-01-15 12:00 UTC");
    assert_eq!(life.look_again, None);
    assert_eq!(dev.look(9999, &busy()).suspension, Some(sleep), "since when, and why, stays");
}

#[test]
fn a_wake_begins_its_time_anew() {
    let mut dev = Scene::new(json!({ "timeToLive": "4h" }));
    dev.look(0, &busy());
    dev.look(230, &busy());
    assert_eq!(dev.look(300, &busy()).state, State::Asleep);
    dev.set(|lifecycle| lifecycle.suspended = false);
    let life = dev.look(1000, &Usage::IdleSince(t(1)));
    assert_eq!((life.state, life.suspension), (State::Awake, None));
    assert_eq!((life.start_time, life.expiration_time), (Some(Time(t(1000))), Some(Time(t(1240)))));
}

#[test]
fn a_request_is_told_as_such() {
    let mut dev = Scene::new(json!({ "timeToLive": "4h" }));
    dev.look(0, &busy());
    is_planned(&dev.look(230, &busy()), 242, SuspensionReason::Expired);
    dev.set(|lifecycle| lifecycle.suspended = true);
    let sleep = dev.look(231, &busy()).suspension.unwrap();
    assert_eq!((sleep.time.0, sleep.reason), (t(231), SuspensionReason::Requested));
}

#[test]
fn an_extension_reaches_to_the_limit_and_not_beyond() {
    let mut dev = Scene::new(json!({ "timeToLive": "4h" }));
    dev.config = settings(|config| config.max_time_to_live = Duration::from_mins(600));
    dev.look(0, &busy());
    let ends = |dev: &mut Scene, at| dev.look(at, &busy()).expiration_time.unwrap().0;
    dev.set(|lifecycle| lifecycle.extended_until = Some(Time(t(300))));
    assert_eq!(ends(&mut dev, 10), t(300));
    dev.set(|lifecycle| lifecycle.extended_until = Some(Time(t(100))));
    assert_eq!(ends(&mut dev, 10), t(240), "an extension shortens nothing");
    dev.set(|lifecycle| lifecycle.extended_until = Some(Time(t(99_999))));
    assert_eq!(ends(&mut dev, 10), t(600));
    dev.allowed = Some(Duration::from_mins(480));
    assert_eq!(ends(&mut dev, 10), t(480), "the flavor's limit");
    let plan = dev.look(460, &busy()).suspension.unwrap();
    assert!(plan.message.contains("the longest that is allowed") && plan.advice.is_none(), "{plan:?}");

    // An extension in the last minute takes the warning away.
    let mut dev = Scene::new(json!({ "timeToLive": "4h" }));
    dev.look(0, &busy());
    is_planned(&dev.look(239, &busy()), 242, SuspensionReason::Expired);
    dev.set(|lifecycle| lifecycle.extended_until = Some(Time(t(600))));
    assert_eq!(dev.look(241, &busy()).suspension, None);
}

#[test]
fn what_comes_all_of_a_sudden_waits_for_its_warning() {
    let mut dev = Scene::new(json!({}));
    dev.look(0, &busy());
    // An administrator shortens all times; the operator was away for days.
    dev.config = settings(|config| config.max_time_to_live = Duration::from_mins(60));
    is_planned(&dev.look(5000, &busy()), 5002, SuspensionReason::Expired);
    is_planned(&dev.look(5001, &busy()), 5002, SuspensionReason::Expired);
    assert_eq!(dev.look(5002, &busy()).state, State::Asleep);

    let mut dev = Scene::new(json!({}));
    dev.look(0, &busy());
    is_planned(&dev.look(3000, &Usage::IdleSince(t(10))), 3005, SuspensionReason::Idle);
    assert_eq!(dev.look(3005, &Usage::IdleSince(t(10))).state, State::Asleep);
}

#[test]
fn zero_means_for_ever() {
    let mut dev = Scene::new(json!({ "timeToLive": "0s", "idle": { "after": "0m" } }));
    dev.config = settings(|config| {
        (config.time_to_live, config.max_time_to_live, config.idle_after) = Default::default();
    });
    let life = dev.look(0, &Usage::IdleSince(t(-9999)));
    assert_eq!((life.state, life.expiration_time, life.look_again), (State::Awake, None, None));
    dev.allowed = Some(Duration::from_mins(60));
    assert_eq!(dev.look(1, &busy()).expiration_time, Some(Time(t(60))));
}

#[test]
fn one_that_nobody_uses_is_announced_and_suspended() {
    let mut dev = Scene::new(json!({}));
    assert_eq!(dev.look(0, &unknown()).suspension, None);
    let life = dev.look(50, &Usage::IdleSince(t(10)));
    assert_eq!((life.suspension, life.look_again), (None, Some(Duration::from_mins(15))));
    let life = dev.look(65, &Usage::IdleSince(t(10)));
    is_planned(&life, 70, SuspensionReason::Idle);
    assert_eq!(life.look_again, Some(Duration::from_mins(5)));
    assert_eq!(dev.look(67, &Usage::IdleSince(t(66))).suspension, None, "somebody typed");
    is_planned(&dev.look(121, &Usage::IdleSince(t(66))), 126, SuspensionReason::Idle);
    let sleep = dev.look(126, &Usage::IdleSince(t(66))).suspension.unwrap();
    assert_eq!(sleep.message, "nobody has used it since 2027-01-15 09:06 UTC");
    assert_eq!(sleep.reason, SuspensionReason::Idle);
}

/// Training that began after the last look is no idleness.
#[test]
fn nobody_is_suspended_by_what_was_seen_long_ago() {
    let mut dev = Scene::new(json!({}));
    dev.look(0, &unknown());
    is_planned(&dev.look(65, &Usage::WasIdleSince(t(10))), 70, SuspensionReason::Idle);
    for minute in [70, 71, 75] {
        let life = dev.look(minute, &Usage::WasIdleSince(t(10)));
        let planned = life.suspension.unwrap();
        assert_eq!((life.state, planned.reason), (State::Awake, SuspensionReason::Idle));
        assert_eq!((planned.time.0, life.look_again), (later(t(minute), UNCERTAIN_LOOK), Some(UNCERTAIN_LOOK)));
    }
    assert_eq!(dev.look(76, &busy()).suspension, None, "it works");

    is_planned(&dev.look(140, &Usage::WasIdleSince(t(76))), 145, SuspensionReason::Idle);
    dev.look(145, &Usage::WasIdleSince(t(76)));
    let life = dev.look(146, &Usage::IdleSince(t(76)));
    assert_eq!((life.state, life.suspension.unwrap().reason), (State::Asleep, SuspensionReason::Idle), "seen again");

    let mut dev = Scene::new(json!({ "timeToLive": "4h", "idle": { "action": "None" } }));
    dev.look(0, &busy());
    dev.look(230, &Usage::WasIdleSince(t(0)));
    assert_eq!(dev.look(242, &Usage::WasIdleSince(t(0))).state, State::Asleep, "its time is over all the same");
}

#[test]
fn what_is_used_or_unknown_or_snoozed_is_not_suspended_for_being_idle() {
    for usage in [busy(), unknown()] {
        let mut dev = Scene::new(json!({}));
        dev.look(0, &Usage::IdleSince(t(0)));
        is_planned(&dev.look(55, &Usage::IdleSince(t(0))), 60, SuspensionReason::Idle);
        let life = dev.look(100, &usage);
        assert_eq!((life.state, life.suspension), (State::Awake, None));
    }
    let never = Scene::new(json!({ "idle": { "action": "None" } })).look(0, &Usage::IdleSince(t(-500)));
    assert_eq!(never.suspension, None);

    let mut dev = Scene::new(json!({}));
    dev.look(0, &Usage::IdleSince(t(0)));
    dev.set(|lifecycle| lifecycle.snoozed_until = Some(Time(t(300))));
    assert_eq!(dev.look(200, &Usage::IdleSince(t(0))).suspension, None);
    is_planned(&dev.look(295, &Usage::IdleSince(t(0))), 300, SuspensionReason::Idle);
}

#[test]
fn the_fresh_are_not_idle_whatever_was_told_of_their_last_pod() {
    let mut dev = Scene::new(json!({ "suspended": true }));
    dev.look(0, &unknown());
    dev.set(|lifecycle| lifecycle.suspended = false);
    let life = dev.look(600, &Usage::IdleSince(t(-100)));
    assert_eq!(life.suspension, None);
    is_planned(&dev.look(655, &Usage::IdleSince(t(-100))), 660, SuspensionReason::Idle);
}

#[test]
fn words_and_times_stay_the_same_while_nothing_changes() {
    let mut dev = Scene::new(json!({ "timeToLive": "1h" }));
    dev.look(0, &busy());
    let told = dev.look(40, &Usage::IdleSince(t(5))).suspension;
    for minute in 41..60 {
        assert_eq!(dev.look(minute, &Usage::IdleSince(t(5))).suspension, told, "{minute}");
    }
}

/// SplitMix64: a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Whatever happens, and in whatever order.
#[test]
fn no_sequence_of_events_breaks_a_promise() {
    for seed in 0..2_000 {
        live(&mut Random(seed), seed);
    }
}

fn live(random: &mut Random, seed: u64) {
    let minutes = |random: &mut Random, below: u64| i64::try_from(random.below(below)).unwrap();
    let mut dev = Scene::new(json!({ "timeToLive": format!("{}m", 30 + random.below(600)) }));
    dev.config = settings(|config| {
        config.max_time_to_live = Duration::from_mins(600);
        config.grace = Duration::from_mins(1 + random.below(5));
    });
    let (mut now, mut usage) = (0, unknown());
    let mut announced: Option<(i64, Suspension)> = None;
    for step in 0..60 {
        let case = format!("seed {seed}, step {step}, minute {now}");
        match random.below(14) {
            0 => usage = busy(),
            1 => usage = unknown(),
            2 | 3 => usage = Usage::IdleSince(t(now - minutes(random, 200))),
            4 => dev.set(|lifecycle| lifecycle.snoozed_until = Some(Time(t(now + minutes(random, 300))))),
            5 => dev.set(|lifecycle| lifecycle.extended_until = Some(Time(t(now + minutes(random, 2_000))))),
            6 => dev.set(|lifecycle| lifecycle.suspended = true),
            7 => dev.set(|lifecycle| lifecycle.suspended = false),
            8 => dev.allowed = Some(Duration::from_mins(10 + random.below(900))),
            9 => dev.allowed = None,
            10 => usage = Usage::WasIdleSince(t(now - minutes(random, 200))),
            _ => {}
        }
        let asked = dev.server.spec.lifecycle.clone().unwrap().suspended;
        let was_awake = dev.server.status.as_ref().is_none_or(|status| status.phase != Phase::Suspended);
        let life = dev.look(now, &usage);
        let limit = dev.allowed.map_or(dev.config.max_time_to_live, |limit| limit.min(dev.config.max_time_to_live));
        match life.state {
            State::Due => panic!("{case}: one that is due is marked at once"),
            State::Asleep => {
                let sleep = life.suspension.clone().unwrap_or_else(|| panic!("{case}: it sleeps and says nothing"));
                if was_awake && !asked {
                    let (since, plan) = announced.take().unwrap_or_else(|| panic!("{case}: nobody was warned"));
                    assert_eq!(sleep.reason, plan.reason, "{case}");
                    assert!(plan.time.0 <= t(now), "{case}: sooner than was said");
                    let notice = match sleep.reason {
                        SuspensionReason::Idle => Duration::from_mins(5),
                        _ => dev.config.grace,
                    };
                    assert!(later(t(since), notice) <= t(now), "{case}: warned too late");
                    let is_idle = matches!(usage, Usage::IdleSince(_));
                    assert!(sleep.reason != SuspensionReason::Idle || is_idle, "{case}: suspended while {usage:?}");
                }
            }
            State::Awake => {
                let start = life.start_time.clone().unwrap_or_else(|| panic!("{case}: it began some time")).0;
                let end = life.expiration_time.clone().unwrap_or_else(|| panic!("{case}: it ends some time")).0;
                assert!(end <= later(start, limit), "{case}: beyond the limit");
                assert!(was_awake || start == t(now), "{case}: a wake begins anew");
                assert!(life.look_again.is_some(), "{case}: nobody looks again");
                if let Some(plan) = &life.suspension {
                    assert!(plan.time.0 > t(now), "{case}: planned for the past");
                    assert!(life.look_again.unwrap() <= until(plan.time.0, t(now)), "{case}: looked at too late");
                }
            }
        }
        announced = match (&life.suspension, life.state) {
            (Some(plan), State::Awake) => match announced {
                Some((since, known)) if known.reason == plan.reason => Some((since, plan.clone())),
                _ => Some((now, plan.clone())),
            },
            _ => None,
        };
        // As often as it asks for, now and then later: an operator may be away.
        let pause = life.look_again.map_or(60, |pause| i64::try_from(pause.as_secs().div_ceil(60)).unwrap());
        now += if random.below(20) == 0 { pause + minutes(random, 500) } else { pause.min(1 + minutes(random, 60)) };
    }
    // Whatever it came to, it can be woken, and is not put to sleep at once.
    dev.set(|lifecycle| lifecycle.suspended = true);
    dev.look(now, &usage);
    dev.set(|lifecycle| lifecycle.suspended = false);
    let life = dev.look(now + 1, &usage);
    assert_eq!((life.state, life.start_time), (State::Awake, Some(Time(t(now + 1)))), "seed {seed}");
}

#[test]
fn what_happens_to_an_idle_one_is_told_whether_it_is_awake_or_sleeps() {
    let told = |lifecycle: Value, after: u64, action: IdleAction| {
        let mut dev = Scene::new(lifecycle);
        dev.config = settings(|settings| {
            settings.idle_after = Duration::from_secs(after);
            settings.idle_action = action;
        });
        let awake = dev.look(0, &busy()).idle;
        dev.set(|lifecycle| lifecycle.suspended = true);
        assert_eq!(dev.look(1, &busy()).idle, awake);
        (awake.after.map(|after| after.0), awake.action)
    };
    use IdleAction::{None as Nothing, Suspend};
    let after = |after: &str| Some(after.to_owned());
    let cases = [
        (json!({}), 5_400, Suspend, (after("1h30m"), Suspend)),
        (json!({}), 0, Suspend, (None, Suspend)),
        (json!({}), 5_400, Nothing, (None, Nothing)),
        (json!({ "idle": { "after": "90m" } }), 0, Nothing, (after("90m"), Suspend)),
        (json!({ "idle": { "after": "0s" } }), 60, Suspend, (after("1m"), Suspend)),
        (json!({ "idle": { "action": "None" } }), 60, Suspend, (None, Nothing)),
    ];
    for (lifecycle, seconds, action, holds) in cases {
        assert_eq!(told(lifecycle.clone(), seconds, action), holds, "{lifecycle} {seconds} {action:?}");
    }
}
