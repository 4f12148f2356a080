//! Whether a DevServer is awake or sleeps, until when, and when to look again. Pure: time is passed in.

mod messages;
mod plan;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use kube::ResourceExt;

use self::plan::{Plan, next_warning};
use super::idleness::Usage;
use crate::api::{
    DevServer, DevServerStatus, IdleAction, IdleRule, Lifecycle, Phase, Suspension, SuspensionReason, TimeSpan,
};
use crate::operator::LifecycleConfig;

pub(super) use messages::sleeps;
pub(super) use plan::warnings_due;

/// What becomes of a DevServer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Life {
    pub(super) state: State,
    /// Since when it is awake.
    pub(super) start_time: Option<Time>,
    pub(super) expiration_time: Option<Time>,
    /// What happens, once it is awake, when nobody uses it.
    pub(super) idle: IdleRule,
    /// That it sleeps, or soon will.
    pub(super) suspension: Option<Suspension>,
    /// When to look again although nothing changes.
    pub(super) look_again: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is to have a pod.
    Awake,
    /// It is to fall asleep now, as was announced.
    Due,
    /// It is to have none.
    Asleep,
}

/// Decides about `server`, whose pod is used as `usage` tells and which may run for `allowed` by its flavor and its
/// owner's limits.
pub(super) fn decide(
    server: &DevServer,
    usage: &Usage,
    allowed: Option<Duration>,
    config: &LifecycleConfig,
    now: Timestamp,
) -> Life {
    let lifecycle = server.spec.lifecycle.clone().unwrap_or_default();
    let status = server.status.clone().unwrap_or_default();
    // Statuses know whole seconds.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    match lifecycle.suspended {
        true => asleep(&status, idle_rule(&lifecycle, config), now),
        false => awake(&server.name_any(), &lifecycle, &status, usage, allowed, config, now),
    }
}

/// Since when, and why, it goes on to say once it was found out.
fn asleep(status: &DevServerStatus, idle: IdleRule, now: Timestamp) -> Life {
    let suspension = match &status.suspension {
        Some(known) if status.phase == Phase::Suspended => known.clone(),
        // As was announced: whoever set the field is the operator.
        Some(planned) if planned.time.0 <= now => {
            let message = messages::now_that_it_sleeps(planned, status.expiration_time.as_ref());
            Suspension { time: Time(now), reason: planned.reason, message, advice: None }
        }
        _ => {
            let message = messages::REQUESTED.to_owned();
            Suspension { time: Time(now), reason: SuspensionReason::Requested, message, advice: None }
        }
    };
    let suspension = Some(suspension);
    Life { state: State::Asleep, start_time: None, expiration_time: None, idle, suspension, look_again: None }
}

fn awake(
    name: &str,
    lifecycle: &Lifecycle,
    status: &DevServerStatus,
    usage: &Usage,
    allowed: Option<Duration>,
    config: &LifecycleConfig,
    now: Timestamp,
) -> Life {
    let start = match &status.start_time {
        Some(start) if status.phase != Phase::Suspended => start.0,
        _ => now,
    };
    // What it slept for is no plan for its waking.
    let announced = status.suspension.as_ref().filter(|_| status.phase != Phase::Suspended);
    let limit = least(given(config.max_time_to_live), allowed);
    let expiration = expiration(lifecycle, start, limit, config);
    let expiry = expiration.map(|end| Plan {
        base: later(end, config.grace),
        reason: SuspensionReason::Expired,
        words: messages::expires(name, end, limit.is_some_and(|limit| end >= later(start, limit))),
        notice: config.grace,
        is_certain: true,
        window: EXPIRY_ANNOUNCED.max(config.grace),
    });
    let idle = idle_rule(lifecycle, config);
    let (idleness, mut look_again) = idleness(name, lifecycle, &idle, start, usage, config);

    let mut planned: Option<Suspension> = None;
    for plan in [expiry, idleness].into_iter().flatten() {
        let at = plan.at(announced, now);
        let at = if plan.is_certain { at } else { at.max(later(now, UNCERTAIN_LOOK)) };
        let shown_from = earlier(at, plan.window);
        let next = if now < shown_from { shown_from } else { next_warning(at, now) };
        look_again = least(look_again, Some(until(next, now)));
        if now >= shown_from && planned.as_ref().is_none_or(|planned| at < planned.time.0) {
            let (message, advice) = plan.words;
            planned = Some(Suspension { time: Time(at), reason: plan.reason, message, advice });
        }
    }
    let due = planned.as_ref().is_some_and(|planned| planned.time.0 <= now);
    Life {
        state: if due { State::Due } else { State::Awake },
        start_time: Some(Time(start)),
        expiration_time: expiration.map(Time),
        idle,
        suspension: planned,
        look_again,
    }
}

/// When its time is over.
fn expiration(
    lifecycle: &Lifecycle,
    start: Timestamp,
    limit: Option<Duration>,
    config: &LifecycleConfig,
) -> Option<Timestamp> {
    let last = limit.map(|limit| later(start, limit));
    let wished = lifecycle.time_to_live.as_ref().and_then(TimeSpan::get).and_then(given);
    let Some(time_to_live) = wished.or(given(config.time_to_live)) else { return last };
    let end = later(start, time_to_live);
    let end = lifecycle.extended_until.as_ref().map_or(end, |until| end.max(whole_seconds(until.0)));
    Some(last.map_or(end, |last| end.min(last)))
}

/// What is to happen when nobody uses it. One that names anything of it names the action, too.
fn idle_rule(lifecycle: &Lifecycle, config: &LifecycleConfig) -> IdleRule {
    let idle = lifecycle.idle.as_ref();
    let action = idle.map_or(config.idle_action, |idle| idle.action);
    let own = idle.and_then(|idle| idle.after.clone()).filter(|after| after.get().and_then(given).is_some());
    let after = own.or_else(|| given(config.idle_after).map(TimeSpan::of));
    IdleRule { after: after.filter(|_| action == IdleAction::Suspend), action }
}

/// The plan to suspend it for being idle, and when to look again at one that is not.
fn idleness(
    name: &str,
    lifecycle: &Lifecycle,
    idle: &IdleRule,
    start: Timestamp,
    usage: &Usage,
    config: &LifecycleConfig,
) -> (Option<Plan>, Option<Duration>) {
    let Some(after) = idle.after.as_ref().and_then(TimeSpan::get) else { return (None, None) };
    let since = match usage {
        // Time alone may end it: not everything that is used says when it no longer is.
        Usage::Busy(_) => return (None, Some(after.min(BUSY_LOOK))),
        Usage::Unknown(_) => return (None, Some(UNKNOWN_LOOK)),
        Usage::IdleSince(since) | Usage::WasIdleSince(since) => whole_seconds(*since).max(start),
    };
    let end = later(since, after);
    let notice = config.warn_before_idle.min(after / 2);
    let plan = Plan {
        base: lifecycle.snoozed_until.as_ref().map_or(end, |until| end.max(whole_seconds(until.0))),
        reason: SuspensionReason::Idle,
        words: messages::idle(name, since),
        notice,
        is_certain: matches!(usage, Usage::IdleSince(_)),
        window: notice,
    };
    (Some(plan), None)
}

/// Zero stands for nothing.
fn given(duration: Duration) -> Option<Duration> {
    Some(duration).filter(|duration| !duration.is_zero())
}

fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).map_or(Timestamp::MAX, whole_seconds)
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_sub(by).ok()).unwrap_or(Timestamp::MIN)
}

fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default()
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// How long before its time is over that is announced.
const EXPIRY_ANNOUNCED: Duration = Duration::from_mins(30);
/// How soon to look again at one that is used, or of which it cannot be told.
const BUSY_LOOK: Duration = Duration::from_mins(1);
const UNKNOWN_LOOK: Duration = Duration::from_mins(5);
/// By how much is put off what was to be done now and rests on what was seen too long ago. Who looks writes what is
/// seen, and that is another reason to look again.
const UNCERTAIN_LOOK: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
