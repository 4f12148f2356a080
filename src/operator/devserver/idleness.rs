//! Whether a DevServer is in use, by what its status tells. What is not known is not idle.

use jiff::{SignedDuration, Timestamp};

use crate::api::{DevServerStatus, GpuUse, Phase, conditions};

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// By this sign.
    Busy(&'static str),
    /// Nothing since then.
    IdleSince(Timestamp),
    /// Nothing since then as of a look that was a while ago: enough to announce by, not to act upon.
    WasIdleSince(Timestamp),
    /// Why, in words for its owner.
    Unknown(String),
}

/// Servers that nobody is in are looked at every five minutes (`workspace.sample_interval`); after three misses it is
/// not known any more.
const STALE: SignedDuration = SignedDuration::from_mins(15);
/// So long after a look nothing else has begun, as far as anybody is put to sleep by that. One that is announced is
/// looked at about every minute.
const FRESH: SignedDuration = SignedDuration::from_secs(90);
/// Two machines' clocks.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

pub(super) fn usage(status: &DevServerStatus, now: Timestamp) -> Usage {
    if status.phase != Phase::Running {
        return Usage::Unknown("it does not run".to_owned());
    }
    if !status.agent {
        return Usage::Unknown("its pod has no agent that could tell".to_owned());
    }
    let Some(began) = began(status) else {
        return Usage::Unknown("it is not known when it began".to_owned());
    };
    let never = || Usage::Unknown("its agent has not been asked yet".to_owned());
    let Some(activity) = &status.activity else { return never() };
    let Some(observed) = activity.observed_time.as_ref().map(|time| time.0) else { return never() };
    if observed < began.saturating_sub(SKEW).unwrap_or(began) {
        return never(); // It tells of the pod before.
    }
    if now.duration_since(observed) > STALE {
        return Usage::Unknown(format!("its agent has not been asked since {observed:.0}"));
    }
    // What a moment is, not a while, is told to the second: it is idle since then.
    if let Some(sign) = activity.signs_at_once().find(|sign| !["keystrokes", "login"].contains(sign)) {
        return Usage::Busy(sign);
    }
    match activity.gpu {
        None => Usage::Unknown(
            "its agent is older than this and measures sessions only; suspend and resume it for a new one".to_owned(),
        ),
        Some(GpuUse::Unknown) => Usage::Unknown("it has a GPU whose use nothing in its image tells".to_owned()),
        Some(GpuUse::None | GpuUse::Known) => {
            let since = activity.last_sign().map_or(began, |(_, seen)| seen.max(began));
            let is_fresh = now.duration_since(observed) <= FRESH;
            if is_fresh { Usage::IdleSince(since) } else { Usage::WasIdleSince(since) }
        }
    }
}

/// When it last became ready, or was last woken: whoever did that wants it.
fn began(status: &DevServerStatus) -> Option<Timestamp> {
    let ready = conditions::find(&status.conditions, conditions::READY).filter(|ready| ready.status == "True");
    let ready = ready.map(|ready| ready.last_transition_time.0);
    ready.max(status.start_time.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;
    use crate::api::Activity;

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(NOW + second).unwrap()
    }

    fn time(second: i64) -> Option<Time> {
        Some(Time(at(second)))
    }

    /// It began two hours ago, and nobody has done anything.
    fn quiet() -> Activity {
        Activity { observed_time: time(-60), gpu: Some(GpuUse::None), ..Activity::default() }
    }

    fn running(activity: Activity) -> DevServerStatus {
        let ready = Condition {
            type_: conditions::READY.to_owned(),
            status: "True".to_owned(),
            reason: "Ready".to_owned(),
            message: String::new(),
            last_transition_time: Time(at(-7_200)),
            observed_generation: None,
        };
        DevServerStatus {
            phase: Phase::Running,
            agent: true,
            activity: Some(activity),
            conditions: vec![ready],
            ..DevServerStatus::default()
        }
    }

    fn judged(activity: Activity) -> Usage {
        usage(&running(activity), at(0))
    }

    #[test]
    fn each_sign_keeps_it_awake_while_it_is_there() {
        type Sign = (&'static str, fn(&mut Activity) -> &mut Option<Time>);
        let signs: [Sign; 8] = [
            ("GPU", |activity| &mut activity.last_gpu_time),
            ("CPU", |activity| &mut activity.last_cpu_time),
            ("disk", |activity| &mut activity.last_disk_time),
            ("Jupyter kernel", |activity| &mut activity.last_kernel_time),
            ("keystrokes", |activity| &mut activity.last_input_time),
            ("output", |activity| &mut activity.last_output_time),
            ("forwards", |activity| &mut activity.last_forward_time),
            ("login", |activity| &mut activity.last_session_time),
        ];
        for (sign, of) in signs {
            let mut activity = quiet();
            *of(&mut activity) = time(-90);
            let there =
                if ["keystrokes", "login"].contains(&sign) { Usage::IdleSince(at(-90)) } else { Usage::Busy(sign) };
            assert_eq!(judged(activity.clone()), there);
            *of(&mut activity) = time(-3_600);
            assert_eq!(judged(activity), Usage::IdleSince(at(-3_600)), "{sign}");
        }
    }

    #[test]
    fn a_job_that_nobody_watches_is_busy_between_two_looks() {
        let sampled = Activity { observed_time: time(-299), last_cpu_time: time(-310), ..quiet() };
        assert_eq!(judged(sampled), Usage::Busy("CPU"));
    }

    #[test]
    fn a_look_tells_nothing_of_what_begins_after_it() {
        let seen = |second| judged(Activity { observed_time: time(second), ..quiet() });
        assert_eq!((seen(-90), seen(30)), (Usage::IdleSince(at(-7_200)), Usage::IdleSince(at(-7_200))));
        assert_eq!((seen(-91), seen(-900)), (Usage::WasIdleSince(at(-7_200)), Usage::WasIdleSince(at(-7_200))));
    }

    #[test]
    fn open_sessions_and_forwards_are_no_use_by_themselves() {
        let left_open = Activity { programs: 3, forwards: 20, last_input_time: time(-5_000), ..quiet() };
        assert_eq!(judged(left_open), Usage::IdleSince(at(-5_000)));
    }

    #[test]
    fn nothing_at_all_counts_from_when_it_began() {
        assert_eq!(judged(quiet()), Usage::IdleSince(at(-7_200)));
        let mut woken = running(Activity { last_cpu_time: time(-7_300), ..quiet() });
        woken.start_time = time(-100);
        assert_eq!(usage(&woken, at(0)), Usage::IdleSince(at(-100)));
    }

    #[test]
    fn what_is_not_known_is_not_idle() {
        let unknown = |status: &DevServerStatus| matches!(usage(status, at(0)), Usage::Unknown(_));
        for activity in [
            Activity { gpu: Some(GpuUse::Unknown), last_input_time: time(-5_000), ..quiet() },
            Activity { gpu: None, ..quiet() },
            Activity { observed_time: None, ..quiet() },
            Activity { observed_time: time(-901), ..quiet() },
            Activity { observed_time: time(-7_300), ..quiet() },
        ] {
            assert!(unknown(&running(activity.clone())), "{activity:?}");
        }
        let running = running(quiet());
        assert!(unknown(&DevServerStatus { activity: None, ..running.clone() }));
        assert!(unknown(&DevServerStatus { agent: false, ..running.clone() }));
        assert!(unknown(&DevServerStatus { phase: Phase::Starting, ..running.clone() }));
        assert!(unknown(&DevServerStatus { conditions: Vec::new(), ..running }));
        let busy = Activity { gpu: Some(GpuUse::Unknown), last_cpu_time: time(-60), ..quiet() };
        assert_eq!(judged(busy), Usage::Busy("CPU"), "what is seen is seen");
    }
}
