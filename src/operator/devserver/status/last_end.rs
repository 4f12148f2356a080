//! Why a pod, or the container in it, ended without having been asked to. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::advice::NOT_HERS;
use super::container_end::{reason, with_advice};
use super::pod::{condition, container_status, node, node_is_silent};
use crate::api::{Activity, DevServerStatus, LastEnd};
use crate::operator::devserver::step::has_ended;

/// The later of what was known and what `pod` tells.
pub(super) fn newest(known: Option<&DevServerStatus>, pod: Option<&Pod>) -> Option<LastEnd> {
    let activity = known.and_then(|status| status.activity.as_ref());
    let seen = pod.and_then(|pod| of_pod(pod, activity));
    match (known.and_then(|status| status.last_end.clone()), seen) {
        (Some(known), Some(seen)) if known.time.0 >= seen.time.0 => Some(known),
        (known, seen) => seen.or(known),
    }
}

/// Why the cluster took a pod that is gone. How its container ended counts for nothing: it was deleted, and its
/// kubelet, done with it much later than it ended, has set anew when that was asked for.
pub(in crate::operator::devserver) fn of_gone(pod: &Pod) -> Option<LastEnd> {
    disruption(pod).or_else(|| over(pod))
}

fn of_pod(pod: &Pod, activity: Option<&Activity>) -> Option<LastEnd> {
    let is_going = pod.metadata.deletion_timestamp.is_some();
    if !has_ended(pod) && !is_going {
        return container(pod, activity);
    }
    disruption(pod).or_else(|| if is_going { silence(pod) } else { over(pod) }).or_else(|| {
        // What ends because its pod is deleted was asked to.
        container(pod, activity).filter(|end| asked_to_end(pod).is_none_or(|asked| end.time.0 < asked))
    })
}

/// When the pod's deletion was asked for, or a little before. Its time stamp is when the grace for that is over; a
/// kubelet that is done with the pod sets both anew, to now and no grace.
fn asked_to_end(pod: &Pod) -> Option<Timestamp> {
    let over = pod.metadata.deletion_timestamp.as_ref()?.0;
    let given = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    let usual = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or_default();
    over.checked_sub(SignedDuration::from_secs(given.max(usual))).ok()
}

/// The container was started again, or will be, in the same pod.
fn container(pod: &Pod, activity: Option<&Activity>) -> Option<LastEnd> {
    let status = container_status(pod)?;
    let ends = [&status.state, &status.last_state].map(|state| state.as_ref()?.terminated.as_ref());
    let end = ends.into_iter().flatten().next()?;
    // It never ran.
    if matches!(end.reason.as_deref(), Some("StartError" | "ContainerCannotRun")) {
        return None;
    }
    let message = with_advice(pod, end, activity.and_then(|activity| peak(end, activity)));
    Some(LastEnd { time: end.finished_at.clone()?, reason: reason(end).to_owned(), message })
}

/// The most memory that the container was seen to use: what was seen before it began, or after it ended, is another's.
fn peak<'a>(end: &ContainerStateTerminated, activity: &'a Activity) -> Option<&'a str> {
    let seen = activity.observed_time.as_ref()?.0;
    let lived = end.started_at.as_ref()?.0..=end.finished_at.as_ref()?.0;
    lived.contains(&seen).then_some(activity.peak_memory.as_ref()?.0.as_str())
}

/// Something in the cluster wanted the pod gone, and says so in a condition.
fn disruption(pod: &Pod) -> Option<LastEnd> {
    let target = disruption_target(pod)?;
    // The kubelet's own evictions and shutdowns say more in the pod's status.
    if target.reason.as_deref() == Some("TerminationByKubelet") {
        return over(pod);
    }
    let (reason, why) = disrupted(pod)?;
    let message = format!("{why}; {NOT_HERS}");
    Some(LastEnd { time: target.last_transition_time.clone()?, reason: reason.to_owned(), message })
}

fn disruption_target(pod: &Pod) -> Option<&PodCondition> {
    condition(pod, "DisruptionTarget").filter(|target| target.status == "True")
}

/// What the control plane took the pod away for, and the name of that.
pub(super) fn disrupted(pod: &Pod) -> Option<(&str, String)> {
    let target = disruption_target(pod)?;
    let said = target.message.as_deref().unwrap_or_default().trim().trim_end_matches('.');
    let node = node(pod);
    Some(match target.reason.as_deref().unwrap_or_default() {
        "PreemptionByScheduler" | "PreemptionByKubeScheduler" => {
            ("Preempted", format!("it had to make room on node {node} for a pod of higher priority"))
        }
        "DeletionByTaintManager" if node_is_silent(pod) => ("NodeLost", format!("node {node} does not answer")),
        "DeletionByTaintManager" => ("NodeLost", format!("node {node} does not answer or was taken out of service")),
        "DeletionByPodGC" => ("NodeLost", format!("node {node} is gone")),
        "EvictionByEvictionAPI" => {
            ("Evicted", format!("node {node} was emptied, by an administrator or by what adds and removes nodes"))
        }
        "TerminationByKubelet" => return None,
        other => (other, said.to_owned()),
    })
}

fn silence(pod: &Pod) -> Option<LastEnd> {
    let time = node_is_silent(pod).then(|| ready_since(pod))??;
    let message = format!("node {} does not answer; {NOT_HERS}", node(pod));
    Some(LastEnd { time, reason: "NodeLost".to_owned(), message })
}

/// The pod as a whole is over.
fn over(pod: &Pod) -> Option<LastEnd> {
    let status = pod.status.as_ref()?;
    let said = status.message.as_deref().unwrap_or_default().trim().trim_end_matches('.');
    let node = node(pod);
    let (reason, message) = match status.reason.as_deref()? {
        "Evicted" => ("Evicted", format!("it was evicted from node {node}: {said}{}", advice_on_eviction(said))),
        "NodeLost" => ("NodeLost", format!("node {node} was lost; {NOT_HERS}")),
        "NodeShutdown" | "Shutdown" | "Terminated" => {
            ("NodeShutdown", format!("node {node} was shut down; {NOT_HERS}"))
        }
        "Preempting" => {
            ("Preempted", format!("it had to make room on node {node} for a pod that the node needs; {NOT_HERS}"))
        }
        other => (other, if said.is_empty() { "the node ended it".to_owned() } else { said.to_owned() }),
    };
    let disrupted = condition(pod, "DisruptionTarget").and_then(|target| target.last_transition_time.clone());
    let container = container_status(pod).and_then(|status| status.state.as_ref()?.terminated.as_ref());
    let time = disrupted
        .or_else(|| container?.finished_at.clone())
        .or_else(|| ready_since(pod))
        .or_else(|| pod.metadata.creation_timestamp.clone())?;
    Some(LastEnd { time, reason: reason.to_owned(), message })
}

fn advice_on_eviction(said: &str) -> &'static str {
    if said.contains("EmptyDir") || said.contains("ephemeral") {
        "; keep large files in the home or in a volume, not beside them"
    } else if said.contains("memory") {
        "; choose a flavor that requests more memory"
    } else {
        "; tell an administrator, who can look at the node"
    }
}

/// When the pod last became ready, or ceased to be.
fn ready_since(pod: &Pod) -> Option<Time> {
    condition(pod, "Ready")?.last_transition_time.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const EARLIER: &str = "2026-11-01T10:00:00Z";
    const LATER: &str = "2026-11-01T11:00:00Z";

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "dev" },
            "spec": { "nodeName": "n1", "containers": [{
                "name": "devserver", "resources": { "limits": { "memory": "2Gi" } }
            }] },
            "status": status,
        }))
        .unwrap()
    }

    fn container(state: Value, last_state: Value) -> Value {
        json!([{
            "name": "devserver", "image": "", "imageID": "", "ready": true, "restartCount": 1,
            "state": state, "lastState": last_state
        }])
    }

    fn terminated(code: i32, reason: &str, at: &str) -> Value {
        json!({ "terminated": { "exitCode": code, "reason": reason, "finishedAt": at } })
    }

    fn going(mut pod: Pod) -> Pod {
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        pod
    }

    fn disrupted(reason: &str) -> Pod {
        going(pod(json!({ "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": LATER
        }] })))
    }

    fn evicted(message: &str) -> Pod {
        pod(json!({
            "phase": "Failed", "reason": "Evicted", "message": message,
            "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "lastTransitionTime": LATER }]
        }))
    }

    /// A DevServer that was put to sleep was told to have ended by itself.
    #[test]
    fn what_ends_with_a_deleted_pod_was_asked_to() {
        let ending = |finished: &str, over: &str, grace: i64| {
            let status = json!({ "containerStatuses": container(terminated(0, "Completed", finished), json!({})) });
            let mut pod = pod(status);
            pod.spec.as_mut().unwrap().termination_grace_period_seconds = Some(5);
            pod.metadata.deletion_timestamp = Some(Time(over.parse().unwrap()));
            pod.metadata.deletion_grace_period_seconds = Some(grace);
            of_pod(&pod, None).map(|end| end.reason)
        };
        let over = "2026-11-01T11:00:05Z";
        assert_eq!(ending(LATER, over, 5), None);
        assert_eq!(ending("2026-11-01T11:00:03Z", over, 5), None);
        assert_eq!(ending(LATER, "2026-11-01T11:00:01Z", 0), None, "the kubelet is done with it");
        assert_eq!(ending("2026-11-01T10:59:55Z", over, 5).as_deref(), Some("CommandEnded"), "it had died before");
    }

    macro_rules! not_hers {
        ($why:literal) => {
            concat!($why, "; nothing is to be done about that, but tell an administrator if it happens often")
        };
    }

    #[test]
    fn each_end_is_told_with_what_to_do() {
        let restarted = |end: Value| {
            pod(json!({ "phase": "Running", "containerStatuses": container(json!({ "running": {} }), end) }))
        };
        let silent = going(pod(json!({
            "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": LATER }],
            "containerStatuses": container(json!({ "running": {} }), json!({}))
        })));
        let cases = [
            (
                restarted(terminated(137, "OOMKilled", LATER)),
                "OutOfMemory",
                "it ran out of memory (all of its limit of 2Gi was in use); choose a larger flavor",
            ),
            (
                restarted(terminated(3, "Error", LATER)),
                "CommandEnded",
                "its command ended with exit code 3; `devctl logs dev --previous` shows what it wrote",
            ),
            (restarted(terminated(255, "Unknown", LATER)), "NodeRestarted", not_hers!("node n1 was restarted")),
            (
                restarted(terminated(137, "Error", LATER)),
                "Killed",
                "it was killed (exit code 137); `devctl logs dev --previous` shows what it wrote",
            ),
            (
                evicted("The node was low on resource: memory. "),
                "Evicted",
                "it was evicted from node n1: The node was low on resource: memory; choose a flavor that requests more memory",
            ),
            (
                evicted("Usage of EmptyDir volume \"home\" exceeds the limit \"1Gi\"."),
                "Evicted",
                "it was evicted from node n1: Usage of EmptyDir volume \"home\" exceeds the limit \"1Gi\"; keep large files \
                 in the home or in a volume, not beside them",
            ),
            (
                disrupted("PreemptionByScheduler"),
                "Preempted",
                not_hers!("it had to make room on node n1 for a pod of higher priority"),
            ),
            (disrupted("DeletionByPodGC"), "NodeLost", not_hers!("node n1 is gone")),
            (
                disrupted("EvictionByEvictionAPI"),
                "Evicted",
                not_hers!("node n1 was emptied, by an administrator or by what adds and removes nodes"),
            ),
            (silent, "NodeLost", not_hers!("node n1 does not answer")),
        ];
        for (pod, reason, message) in cases {
            let end = newest(None, Some(&pod)).unwrap();
            assert_eq!((end.reason.as_str(), end.message.as_str()), (reason, message));
            assert_eq!(end.time.0, LATER.parse().unwrap(), "{reason}");
        }
    }

    #[test]
    fn the_peak_is_that_of_the_container_that_ended() {
        let message = |observed: &str| {
            let mut end = terminated(137, "OOMKilled", LATER);
            end["terminated"]["startedAt"] = EARLIER.into();
            let pod = pod(json!({ "containerStatuses": container(json!({ "running": {} }), end) }));
            let activity = json!({ "observedTime": observed, "peakMemory": "1.9Gi", "programs": 0, "forwards": 0 });
            let known = DevServerStatus { activity: serde_json::from_value(activity).unwrap(), ..Default::default() };
            newest(Some(&known), Some(&pod)).unwrap().message
        };
        let with_peak = "it ran out of memory (limit 2Gi; at most 1.9Gi was seen in use); choose a larger flavor";
        assert_eq!(message("2026-11-01T10:59:10Z"), with_peak);
        for of_another in ["2026-11-01T09:59:59Z", "2026-11-01T11:00:01Z"] {
            assert_eq!(
                message(of_another),
                "it ran out of memory (all of its limit of 2Gi was in use); choose a larger flavor"
            );
        }
    }

    #[test]
    fn what_was_asked_for_or_never_ran_is_no_end() {
        let running =
            json!({ "phase": "Running", "containerStatuses": container(json!({ "running": {} }), json!({})) });
        assert_eq!(newest(None, Some(&pod(running.clone()))), None);
        assert_eq!(newest(None, Some(&going(pod(running)))), None, "its spec changed, or somebody deleted it");
        let no_such_program = container(json!({ "waiting": {} }), terminated(128, "StartError", LATER));
        assert_eq!(newest(None, Some(&pod(json!({ "containerStatuses": no_such_program })))), None);
        assert_eq!(newest(None, None), None);
    }

    #[test]
    fn the_later_end_is_kept_when_the_next_pod_starts() {
        let at = |time: &str| {
            pod(json!({ "containerStatuses": container(json!({ "running": {} }), terminated(1, "Error", time)) }))
        };
        let told = |end| DevServerStatus { last_end: end, ..DevServerStatus::default() };
        let known = newest(None, Some(&at(LATER))).unwrap();
        assert_eq!(newest(Some(&told(Some(known.clone()))), None), Some(known.clone()));
        assert_eq!(newest(Some(&told(Some(known.clone()))), Some(&at(EARLIER))), Some(known.clone()));
        let older = newest(None, Some(&at(EARLIER)));
        assert_eq!(newest(Some(&told(older)), Some(&at(LATER))), Some(known));
    }
}
