//! When a pod reached what, by what the cluster wrote of it. Pure.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::pod::{condition, container_status};
use crate::api::{DevServerStatus, StartStep, StepName};
use crate::operator::devserver::events::Note;

/// The steps of `pod`; `known` is the DevServer's status so far, for what only an event told.
pub(super) fn steps(known: Option<&DevServerStatus>, pod: Option<&Pod>, notes: &[Note]) -> Vec<StartStep> {
    let Some(pod) = pod else { return Vec::new() };
    let Some(created) = pod.metadata.creation_timestamp.clone() else { return Vec::new() };
    let known_of = |name: StepName| {
        let steps = known.map(|status| status.steps.as_slice()).unwrap_or_default();
        let is_of_this_pod = steps.iter().any(|step| step.name == StepName::Created && step.time == created);
        steps.iter().find(|step| is_of_this_pod && step.name == name).map(|step| step.time.clone())
    };
    let since = |type_: &str| {
        condition(pod, type_).filter(|condition| condition.status == "True")?.last_transition_time.clone()
    };
    let pulled = notes.iter().rev().find(|note| {
        Some(&note.uid) == pod.metadata.uid.as_ref() && note.reason == "Pulled" && note.is_about_container
    });
    let started = container_status(pod).and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.clone());
    let times = [
        (StepName::Requested, requested(known, &created)),
        (StepName::Created, Some(created.clone())),
        (StepName::Scheduled, since("PodScheduled")),
        (StepName::Mounted, since("PodReadyToStartContainers")),
        (StepName::Initialized, since("Initialized")),
        (StepName::ImagePulled, pulled.and_then(|note| note.at.map(Time)).or_else(|| known_of(StepName::ImagePulled))),
        (StepName::Started, started),
        (StepName::Ready, since("Ready")),
    ];
    times.into_iter().filter_map(|(name, time)| Some(StartStep { name, time: time? })).collect()
}

/// Only of the first pod since: a later one was made because that one ended.
fn requested(known: Option<&DevServerStatus>, created: &Time) -> Option<Time> {
    let status = known?;
    let start = status.start_time.clone().filter(|start| start.0 <= created.0)?;
    let ended_since = status.last_end.as_ref().is_some_and(|end| end.time.0 >= start.0);
    (!ended_since).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::LastEnd;
    use serde_json::json;

    fn time(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(1_800_000_000 + second).unwrap())
    }

    fn pod() -> Pod {
        let condition = |type_: &str, status: &str, at: i64| json!({ "type": type_, "status": status, "lastTransitionTime": time(at) });
        serde_json::from_value(json!({
            "metadata": { "name": "dev", "uid": "u", "creationTimestamp": time(10) },
            "status": {
                "conditions": [
                    condition("PodScheduled", "True", 20),
                    condition("PodReadyToStartContainers", "True", 30),
                    condition("Initialized", "True", 31),
                    condition("Ready", "False", 10),
                ],
                "containerStatuses": [{
                    "name": "devserver", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "running": { "startedAt": time(100) } }
                }]
            }
        }))
        .unwrap()
    }

    fn pulled(uid: &str, is_about_container: bool, at: i64) -> Note {
        let (reason, message) = ("Pulled".to_owned(), String::new());
        Note { uid: uid.to_owned(), reason, message, at: Some(time(at).0), is_about_container }
    }

    fn told(known: Option<&DevServerStatus>, notes: &[Note]) -> Vec<(StepName, i64)> {
        let steps = steps(known, Some(&pod()), notes);
        steps.into_iter().map(|step| (step.name, step.time.0.as_second() - 1_800_000_000)).collect()
    }

    #[test]
    fn each_step_has_the_clusters_time() {
        use StepName::{Created, ImagePulled, Initialized, Mounted, Scheduled, Started};
        let notes = [pulled("other", true, 1), pulled("u", true, 99), pulled("u", false, 32)];
        let all = [(Created, 10), (Scheduled, 20), (Mounted, 30), (Initialized, 31), (ImagePulled, 99), (Started, 100)];
        assert_eq!(told(None, &notes), all);
        assert_eq!(steps(None, None, &notes), []);
    }

    #[test]
    fn what_an_event_told_is_kept_for_this_pod() {
        let known = |created: i64| DevServerStatus {
            steps: vec![
                StartStep { name: StepName::Created, time: time(created) },
                StartStep { name: StepName::ImagePulled, time: time(99) },
            ],
            ..DevServerStatus::default()
        };
        assert!(told(Some(&known(10)), &[]).contains(&(StepName::ImagePulled, 99)));
        assert!(!told(Some(&known(1)), &[]).iter().any(|(name, _)| *name == StepName::ImagePulled));
    }

    #[test]
    fn the_request_is_told_of_the_first_pod_only() {
        let mut known = DevServerStatus { start_time: Some(time(2)), ..DevServerStatus::default() };
        assert_eq!(told(Some(&known), &[])[0], (StepName::Requested, 2));
        known.last_end = Some(LastEnd { time: time(5), reason: "Evicted".to_owned(), message: String::new() });
        assert_eq!(told(Some(&known), &[])[0], (StepName::Created, 10));
    }
}
