//! What events tell about a DevServer: that it can be entered, or why it cannot be had; how its pod ended; that its
//! startup script failed; that its sleep is announced, begun and over. Each when it comes about, not each time somebody
//! looks.

use dashmap::DashMap;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;

use super::lifecycle;
use crate::api::conditions::reason;
use crate::api::{DevServer, DevServerStatus, Phase, SuspensionReason, conditions};
use crate::operator::publish::event;

/// What was told of each, with its uid: another one of that name has not been told of yet. A watch may bring the next
/// change before the status that was written of the last one.
#[derive(Default)]
pub(super) struct Announced(DashMap<ObjectRef<DevServer>, (String, Word)>);

impl Announced {
    /// What is news in `status`, which `server` now has; from now on it is not.
    pub(super) fn news(&self, server: &DevServer, status: &DevServerStatus, now: Timestamp) -> Vec<Event> {
        let (key, uid) = (ObjectRef::from_obj(server), server.uid().unwrap_or_default());
        let told = self.0.get(&key).filter(|told| told.0 == uid).map(|told| told.1.clone());
        let before = told.or_else(|| Some(Word::of(server.status.as_ref()?, now)));
        let word = Word::of(status, now);
        let events = news(before.as_ref(), &word, status);
        self.0.insert(key, (uid, word));
        events
    }

    pub(super) fn forget(&self, key: &ObjectRef<DevServer>) {
        self.0.remove(key);
    }

    pub(super) fn retain(&self, keep: impl Fn(&ObjectRef<DevServer>) -> bool) {
        self.0.retain(|key, _| keep(key));
    }
}

/// What of a status makes news when it changes.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    phase: Phase,
    /// Of the condition Ready.
    reason: String,
    generation: Option<i64>,
    /// Why it will be suspended, and how many of the warnings are due.
    planned: Option<(SuspensionReason, usize)>,
    ended: Option<Timestamp>,
    script_failed: Option<Timestamp>,
}

impl Word {
    fn of(status: &DevServerStatus, now: Timestamp) -> Self {
        let find = |type_: &str| conditions::find(&status.conditions, type_);
        let planned = status.suspension.as_ref().filter(|_| status.phase != Phase::Suspended);
        let script = find(conditions::STARTUP_SCRIPT).filter(|script| script.status == "False");
        Self {
            phase: status.phase,
            reason: find(conditions::READY).map(|ready| ready.reason.clone()).unwrap_or_default(),
            generation: status.observed_generation,
            planned: planned.map(|planned| (planned.reason, lifecycle::warnings_due(planned.time.0, now))),
            ended: status.last_end.as_ref().map(|end| end.time.0),
            script_failed: script.map(|script| script.last_transition_time.0),
        }
    }

    fn sleeps(&self) -> bool {
        self.phase == Phase::Suspended
    }

    fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether it is not what its spec asks for, and somebody has to do something.
    fn is_refused(&self) -> bool {
        let waits_for_somebody =
            matches!(self.reason.as_str(), reason::QUOTA_EXCEEDED | reason::CLAIM_NOT_FOUND | reason::CANNOT_READ_ENV);
        let runs_as_before = self.is_running() && self.reason != reason::RUNNING;
        self.phase == Phase::Failed || runs_as_before || waits_for_somebody
    }
}

fn news(before: Option<&Word>, now: &Word, status: &DevServerStatus) -> Vec<Event> {
    let is_new = |what: fn(&Word) -> Option<Timestamp>| what(now).is_some() && before.and_then(what) < what(now);
    let end = status.last_end.as_ref().filter(|_| is_new(|word| word.ended));
    let script = conditions::find(&status.conditions, conditions::STARTUP_SCRIPT);
    let script = script.filter(|_| is_new(|word| word.script_failed));
    let end = end.map(|end| {
        let reason = if end.reason.is_empty() { "Ended" } else { &end.reason };
        event(EventType::Warning, reason, "Run", &format!("it ended: {}", end.message))
    });
    let script = script.map(|script| event(EventType::Warning, "StartupScriptFailed", "Start", &script.message));
    [end, sleep(before, now, status), state(before, now, status), script].into_iter().flatten().collect()
}

fn sleep(before: Option<&Word>, now: &Word, status: &DevServerStatus) -> Option<Event> {
    let slept = before.is_some_and(Word::sleeps);
    let suspension = status.suspension.as_ref();
    if slept && !now.sleeps() && now.phase != Phase::Terminating {
        return Some(event(EventType::Normal, "Woken", "Wake", "it is resumed"));
    }
    if !slept && now.sleeps() {
        return Some(event(EventType::Normal, "Suspended", "Suspend", status.message.as_deref()?));
    }
    let (reason, due) = now.planned?;
    let told = before.and_then(|before| before.planned);
    if told.is_some_and(|(told_reason, told_due)| told_reason == reason && due <= told_due) {
        return None;
    }
    let planned = suspension?;
    let note = format!("it will be suspended at {}: {}", planned.time.0, planned.sentence());
    Some(event(EventType::Warning, "SuspensionPlanned", "Warn", &note))
}

fn state(before: Option<&Word>, now: &Word, status: &DevServerStatus) -> Option<Event> {
    if now.is_refused() {
        let is_told =
            |before: &Word| before.is_refused() && before.reason == now.reason && before.generation == now.generation;
        let message = status.message.as_deref().unwrap_or_default();
        return (!before.is_some_and(is_told)).then(|| event(EventType::Warning, &now.reason, "Start", message));
    }
    let is_ready = now.is_running() && !before.is_some_and(Word::is_running);
    is_ready.then(|| event(EventType::Normal, "Ready", "Start", "sessions can enter it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerSpec, LastEnd, Suspension};
    use crate::operator::devserver::resolve::tests::server;
    use jiff::SignedDuration;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use Phase::{Failed, Pending, Running, Starting, Suspended, Terminating};
    use SuspensionReason::{Expired, Idle, Requested};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_mins(minute)
    }

    fn status(phase: Phase, reason: &str) -> DevServerStatus {
        let ready = conditions::condition(
            conditions::READY,
            phase == Running,
            reason,
            "why",
            Some(1),
            Time(Timestamp::UNIX_EPOCH),
        );
        DevServerStatus {
            phase,
            message: Some("why".to_owned()),
            conditions: vec![ready],
            observed_generation: Some(1),
            ..DevServerStatus::default()
        }
    }

    fn planned(phase: Phase, reason: SuspensionReason) -> DevServerStatus {
        let suspension = Suspension { time: Time(at(30)), reason, message: "because".to_owned(), advice: None };
        DevServerStatus { suspension: Some(suspension), ..status(phase, reason::RUNNING) }
    }

    fn ended(minute: i64, status: DevServerStatus) -> DevServerStatus {
        let end = LastEnd { time: Time(at(minute)), reason: "Evicted".to_owned(), message: "no room".to_owned() };
        DevServerStatus { last_end: Some(end), ..status }
    }

    fn script_failed(minute: i64) -> DevServerStatus {
        let mut status = status(Running, reason::RUNNING);
        let type_ = conditions::STARTUP_SCRIPT;
        status.conditions.push(conditions::condition(type_, false, "Failed", "exit code 3", None, Time(at(minute))));
        status
    }

    fn of_generation(generation: i64, status: DevServerStatus) -> DevServerStatus {
        DevServerStatus { observed_generation: Some(generation), ..status }
    }

    fn reasons(events: Vec<Event>) -> Vec<String> {
        events.into_iter().map(|event| event.reason).collect()
    }

    /// The reasons of what is told when a DevServer that is as `old` becomes as `new`, whoever told of the former.
    fn told(old: Option<&DevServerStatus>, new: &DevServerStatus) -> Vec<String> {
        let mut server = server(DevServerSpec::default());
        let announced = Announced::default();
        if let Some(old) = old {
            announced.news(&server, old, at(0));
        }
        let told = reasons(announced.news(&server, new, at(0)));
        assert!(announced.news(&server, new, at(0)).is_empty(), "the status is not seen yet, and all was told");
        server.status = old.cloned();
        assert_eq!(told, reasons(Announced::default().news(&server, new, at(0))), "by another operator");
        told
    }

    #[test]
    fn each_turn_of_a_sleep_is_told_once() {
        let plain = |phase| status(phase, reason::RUNNING);
        let cases = [
            (plain(Running), plain(Running), vec![]),
            (plain(Running), planned(Running, Idle), vec!["SuspensionPlanned"]),
            (planned(Running, Idle), planned(Running, Idle), vec![]),
            (planned(Running, Idle), planned(Running, Expired), vec!["SuspensionPlanned"]),
            (planned(Running, Idle), plain(Running), vec![]),
            (planned(Running, Idle), planned(Suspended, Idle), vec!["Suspended"]),
            (plain(Starting), planned(Suspended, Requested), vec!["Suspended"]),
            (planned(Suspended, Idle), planned(Suspended, Idle), vec![]),
            (planned(Suspended, Idle), plain(Starting), vec!["Woken"]),
            (planned(Suspended, Idle), plain(Terminating), vec![]),
        ];
        for (old, new, expected) in cases {
            assert_eq!(told(Some(&old), &new), expected, "{:?} to {:?}", old.phase, new.phase);
        }
        assert_eq!(told(None, &planned(Suspended, Requested)), ["Suspended"]);
    }

    #[test]
    fn a_suspension_is_announced_again_as_it_comes_near() {
        let (server, announced) = (server(DevServerSpec::default()), Announced::default());
        let planned = planned(Running, Idle);
        let mut told = Vec::new();
        for minute in 0..30 {
            let events = announced.news(&server, &planned, at(minute));
            told.extend(events.iter().filter(|event| event.reason == "SuspensionPlanned").map(|_| minute));
        }
        assert_eq!(told, [0, 15, 25]);
    }

    #[test]
    fn what_it_comes_to_is_told_when_it_does() {
        let runs = || status(Running, reason::RUNNING);
        let cases = [
            (None, status(Pending, "CreatingPod"), vec![]),
            (None, runs(), vec!["Ready"]),
            (Some(status(Starting, "NotReady")), runs(), vec!["Ready"]),
            (Some(runs()), status(Starting, "Restarting"), vec![]),
            (None, status(Failed, "InvalidSpec"), vec!["InvalidSpec"]),
            (Some(status(Failed, "InvalidSpec")), status(Failed, "Limit"), vec!["Limit"]),
            (Some(status(Failed, "Limit")), of_generation(2, status(Failed, "Limit")), vec!["Limit"]),
            (Some(status(Failed, "Limit")), runs(), vec!["Ready"]),
            (Some(status(Pending, "CreatingPod")), status(Pending, "QuotaExceeded"), vec!["QuotaExceeded"]),
            (Some(runs()), status(Running, "FlavorNotFound"), vec!["FlavorNotFound"]),
            (Some(status(Running, "FlavorNotFound")), runs(), vec![]),
            (Some(runs()), ended(1, status(Starting, "PodEnded")), vec!["Evicted"]),
            (Some(ended(1, runs())), ended(1, runs()), vec![]),
            (Some(ended(1, runs())), ended(2, runs()), vec!["Evicted"]),
            (Some(runs()), script_failed(1), vec!["StartupScriptFailed"]),
            (Some(script_failed(1)), script_failed(1), vec![]),
            (Some(script_failed(1)), script_failed(2), vec!["StartupScriptFailed"]),
        ];
        for (old, new, expected) in cases {
            let what = format!("{:?} to {:?}", old.as_ref().map(|old| old.phase), new.phase);
            assert_eq!(told(old.as_ref(), &new), expected, "{what}, {:?}", new.conditions);
        }
    }

    #[test]
    fn faults_are_warnings_with_their_words() {
        let server = server(DevServerSpec::default());
        let events = Announced::default().news(&server, &ended(1, status(Failed, "Limit")), at(0));
        let told: Vec<_> = events.iter().map(|event| (event.type_, event.note.as_deref().unwrap())).collect();
        assert_eq!(told, [(EventType::Warning, "it ended: no room"), (EventType::Warning, "why")]);
    }

    #[test]
    fn another_one_of_that_name_is_told_of_anew() {
        let (mut server, announced) = (server(DevServerSpec::default()), Announced::default());
        let runs = status(Running, reason::RUNNING);
        assert_eq!(announced.news(&server, &runs, at(0)).len(), 1);
        server.metadata.uid = Some("uid-2".to_owned());
        assert_eq!(announced.news(&server, &runs, at(0)).len(), 1);
    }
}
