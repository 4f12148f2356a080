//! How the startup script of the present container ended. The agent's probe tells of a failure in an event. Pure.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::pod::container_status;
use crate::api::{conditions, names};
use crate::operator::devserver::events::Note;

/// Puts the condition right, of a DevServer whose status has `all` of these; why it failed, if it did.
pub(super) fn set_condition(
    all: &mut Vec<Condition>,
    pod: Option<&Pod>,
    notes: &[Note],
    generation: Option<i64>,
    now: &Time,
) -> Option<String> {
    let started = pod.filter(|pod| has_script(pod)).and_then(started_at);
    let is_of_this_container =
        |condition: &Condition| started.as_ref().is_some_and(|at| condition.last_transition_time.0 >= at.0);
    all.retain(|condition| condition.type_ != conditions::STARTUP_SCRIPT || is_of_this_container(condition));
    let (pod, started) = (pod?, started?);
    let known = conditions::find(all, conditions::STARTUP_SCRIPT);
    let (holds, reason, message) = match (failure(pod, &started, notes), known) {
        (Some(said), _) => (false, conditions::reason::FAILED, said.trim().to_owned()),
        (None, Some(known)) => return (known.status == "False").then(|| known.message.clone()),
        (None, None) if is_over(pod) => (true, "Succeeded", String::new()),
        (None, None) => return None,
    };
    let condition = conditions::condition(conditions::STARTUP_SCRIPT, holds, reason, &message, generation, now.clone());
    conditions::set(all, condition);
    (!holds).then_some(message)
}

/// Whether the script of the present container is over, and nobody has looked yet whether there is an event of its
/// failure.
pub(in crate::operator::devserver) fn is_in_doubt(all: &[Condition], pod: Option<&Pod>, notes: &[Note]) -> bool {
    let Some(pod) = pod.filter(|pod| has_script(pod) && is_over(pod)) else { return false };
    let Some(started) = started_at(pod) else { return false };
    let is_told = |condition: &Condition| {
        condition.type_ == conditions::STARTUP_SCRIPT && condition.last_transition_time.0 >= started.0
    };
    !all.iter().any(is_told) && failure(pod, &started, notes).is_none()
}

/// What the probe said of the script that began with the container.
fn failure<'a>(pod: &Pod, started: &Time, notes: &'a [Note]) -> Option<&'a str> {
    notes.iter().rev().find_map(|note| {
        let is_of_it = Some(&note.uid) == pod.metadata.uid.as_ref() && note.is_about_container;
        let is_later = note.at.is_none_or(|at| at >= started.0);
        note.message
            .strip_prefix("Startup probe failed: ")
            .filter(|_| is_of_it && is_later && note.reason == "Unhealthy")
    })
}

fn is_over(pod: &Pod) -> bool {
    container_status(pod).is_some_and(|status| status.started == Some(true))
}

fn has_script(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.iter().any(|container| container.name == names::CONTAINER && container.startup_probe.is_some())
}

fn started_at(pod: &Pod) -> Option<Time> {
    container_status(pod)?.state.as_ref()?.running.as_ref()?.started_at.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    fn time(second: i64) -> Time {
        Time(Timestamp::from_second(1_800_000_000 + second).unwrap())
    }

    fn pod(started_at: i64, started: bool) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "dev", "uid": "u" },
            "spec": { "containers": [{ "name": "devserver", "startupProbe": { "exec": {} } }] },
            "status": { "containerStatuses": [{
                "name": "devserver", "image": "", "imageID": "", "ready": started, "started": started, "restartCount": 0,
                "state": { "running": { "startedAt": time(started_at) } }
            }] }
        }))
        .unwrap()
    }

    fn failure(at: i64) -> Note {
        Note {
            uid: "u".to_owned(),
            reason: "Unhealthy".to_owned(),
            message: "Startup probe failed: the startup script failed (exit code 3)\n".to_owned(),
            at: Some(time(at).0),
            is_about_container: true,
        }
    }

    #[test]
    fn a_failure_is_kept_until_the_next_container() {
        let mut all = Vec::new();
        let mut told =
            |pod: &Pod, notes: &[Note], now: i64| set_condition(&mut all, Some(pod), notes, Some(1), &time(now));
        assert_eq!(told(&pod(10, false), &[], 10), None);
        let said = Some("the startup script failed (exit code 3)".to_owned());
        assert_eq!(told(&pod(10, false), &[failure(12)], 12), said);
        assert_eq!(told(&pod(10, true), &[], 14), said, "nobody follows the events of a pod that runs");
        assert_eq!(told(&pod(20, false), &[failure(12)], 20), None, "the next one's script runs");
        assert_eq!(told(&pod(20, false), &[failure(22)], 22), said);
        assert_eq!(told(&pod(30, true), &[failure(22)], 31), None);
        assert_eq!((all.len(), all[0].status.as_str()), (1, "True"));
        assert_eq!(set_condition(&mut all, None, &[], None, &time(40)), None);
        assert!(all.is_empty());
    }

    #[test]
    fn before_a_success_is_told_once_the_events_are_looked_at() {
        let mut all = Vec::new();
        let in_doubt = |all: &[Condition], pod: &Pod, notes: &[Note]| is_in_doubt(all, Some(pod), notes);
        assert!(!in_doubt(&all, &pod(10, false), &[]), "it runs");
        assert!(in_doubt(&all, &pod(10, true), &[]));
        assert!(in_doubt(&all, &pod(10, true), &[failure(9)]), "of the container before");
        assert!(!in_doubt(&all, &pod(10, true), &[failure(12)]));
        set_condition(&mut all, Some(&pod(10, true)), &[], None, &time(12));
        assert!(!in_doubt(&all, &pod(10, true), &[]), "it was told");
        assert!(in_doubt(&all, &pod(20, true), &[]), "the next one's");
    }

    #[test]
    fn without_a_script_there_is_nothing_to_tell() {
        let mut plain = pod(10, true);
        plain.spec.as_mut().unwrap().containers[0].startup_probe = None;
        let mut all = Vec::new();
        assert!(!is_in_doubt(&all, Some(&plain), &[]));
        assert_eq!(set_condition(&mut all, Some(&plain), &[failure(12)], None, &time(12)), None);
        assert!(all.is_empty());
    }
}
