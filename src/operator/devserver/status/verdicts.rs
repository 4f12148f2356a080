//! What Kubernetes says of a pod and a volume, in words for someone who does not know Kubernetes.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStateWaiting, PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use super::Verdict;
use super::container_end::{why, with_advice};
use super::last_end::disrupted;
use super::pod::{container_status, image_name, node, node_is_silent, startup_script_runs};
use crate::api::conditions::reason;
use crate::api::{Phase, names};
use crate::operator::devserver::events::Note;

/// The home's volume is not there yet.
pub(super) fn volume(claim: Option<&PersistentVolumeClaim>, notes: &[Note]) -> Verdict {
    let Some(claim) = claim else {
        return Verdict::new(Phase::Pending, "CreatingHome", "the home volume is being made");
    };
    let name = claim.name_any();
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
        let message = format!("the home volume {name} is lost: its storage is gone; tell an administrator");
        return Verdict::new(Phase::Failed, "HomeLost", message);
    }
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default();
    let failed = notes.iter().rev().find(|note| {
        Some(&note.uid) == claim.metadata.uid.as_ref()
            && matches!(note.reason.as_str(), "ProvisioningFailed" | "FailedBinding" | "VolumeMismatch")
    });
    if class.is_empty() {
        let message = format!(
            "the home volume {name} cannot be made: the cluster has no default storage class; tell an administrator"
        );
        return Verdict::new(Phase::Pending, "HomeNotBound", message);
    }
    let message = match failed {
        Some(note) => format!("the home volume {name} cannot be made: {}", note.message.trim_end_matches('.')),
        None => format!("waiting for the home volume {name} (storage class {class})"),
    };
    Verdict::new(Phase::Pending, "HomeNotBound", message)
}

/// A claim of the pod has no volume yet: the home's, or another.
pub(super) fn unbound(pod: &Pod, home: Option<&PersistentVolumeClaim>, notes: &[Note]) -> Verdict {
    let is_bound = |claim: &PersistentVolumeClaim| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
    };
    let others = other_claims(pod);
    if others.is_empty() || home.is_some_and(|home| !is_bound(home)) {
        return volume(home, notes);
    }
    let message = format!(
        "waiting for volumes, not all of which are bound yet: {}; tell an administrator if it stays so",
        others.join(", ")
    );
    Verdict::new(Phase::Pending, "VolumeNotBound", message)
}

/// The `x` of the scheduler's `persistentvolumeclaim "x" not found`.
pub(super) fn missing_claim(said: &str) -> Option<&str> {
    let (name, rest) = said.split_once("persistentvolumeclaim \"")?.1.split_once('"')?;
    rest.starts_with(" not found").then_some(name)
}

pub(super) fn no_claim(name: &str) -> Verdict {
    Verdict::new(Phase::Pending, reason::CLAIM_NOT_FOUND, format!("there is no claim {name} in the namespace"))
}

/// The claims that `spec.volumes` or the flavor mount.
fn other_claims(pod: &Pod) -> Vec<&str> {
    let home = names::home_claim(&pod.name_any());
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let claims = volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()));
    claims.filter(|claim| *claim != home).collect()
}

/// `0/3 nodes are available: 3 Insufficient cpu. preemption: …` → `no node fits: 0/3 nodes are available: 3
/// Insufficient cpu`.
pub(super) fn unschedulable(said: &str) -> String {
    let said = said.split(" preemption:").next().unwrap_or(said);
    // What of the scheduler's plugins has nothing to say about a pod without resource claims.
    let said = said.split(" no new claims to deallocate").next().unwrap_or(said).trim().trim_end_matches(['.', ',']);
    if said.is_empty() { "no node fits".to_owned() } else { format!("no node fits: {said}") }
}

/// The pod is being deleted.
pub(super) fn going(pod: &Pod) -> Verdict {
    if node_is_silent(pod) {
        let message = format!(
            "node {} does not answer, so nobody knows whether the old pod still runs; it is replaced when the node comes \
             back or an administrator removes it",
            node(pod)
        );
        return Verdict::new(Phase::Pending, "NodeLost", message);
    }
    let waits = "waiting for the old pod to stop";
    match disrupted(pod) {
        Some((_, why)) => Verdict::new(Phase::Starting, "Disrupted", format!("{why}; {waits}")),
        None => Verdict::new(Phase::Starting, "Restarting", waits),
    }
}

/// What becomes of the pod of a DevServer that is to have none.
pub(super) fn stopping(pod: &Pod) -> String {
    match node_is_silent(pod) {
        true => format!("node {} does not answer, so nobody knows whether its pod still runs", node(pod)),
        false => "its pod is still stopping".to_owned(),
    }
}

/// The pod is over and will be made again.
pub(super) fn ended(pod: &Pod) -> Verdict {
    let status = pod.status.clone().unwrap_or_default();
    let said = status.message.unwrap_or_default();
    let said = said.trim().trim_end_matches('.');
    let why = match status.reason.as_deref() {
        Some("Evicted") => format!("it was evicted from node {}: {said}", node(pod)),
        Some("NodeLost") => format!("node {} was lost", node(pod)),
        Some(reason) if said.is_empty() => reason.to_owned(),
        Some(reason) => format!("{reason}: {said}"),
        None => match container_status(pod).and_then(|status| status.state.as_ref()?.terminated.as_ref()) {
            Some(end) => why(pod, end, None).0,
            None => "for an unknown reason".to_owned(),
        },
    };
    Verdict::new(Phase::Starting, "PodEnded", format!("the pod ended ({why}); it is being replaced"))
}

/// The pod has a node but is not ready.
pub(super) fn container(pod: &Pod, notes: &[Note]) -> Verdict {
    let starting = |reason, message: String| Verdict::new(Phase::Starting, reason, message);
    if node_is_silent(pod) {
        return starting("NodeLost", format!("node {} does not answer", node(pod)));
    }
    let status = container_status(pod);
    let state = status.and_then(|status| status.state.clone()).unwrap_or_default();
    if let Some(end) = &state.terminated {
        return restarting(pod, end);
    }
    if state.running.is_some() {
        return match startup_script_runs(pod) {
            true => starting("StartupScript", "its startup script runs".to_owned()),
            false => starting("NotReady", "the container runs but is not ready".to_owned()),
        };
    }
    let waiting = state.waiting.unwrap_or_default();
    match waiting.reason.as_deref() {
        Some(
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable",
        ) => image(pod, &waiting, notes),
        Some("CrashLoopBackOff") => match status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref()) {
            Some(end) => restarting(pod, end),
            None => starting("Restarting", "the container keeps ending; it is started again".to_owned()),
        },
        // `secret "x" not found`, `couldn't find key k in Secret dev-alice/x`; it is looked for again and again.
        Some("CreateContainerConfigError") => {
            let said = waiting.message.as_deref().unwrap_or_default();
            starting(reason::CANNOT_READ_ENV, format!("the variables of spec.env cannot be read yet: {said}"))
        }
        Some("CreateContainerError" | "RunContainerError" | "StartError") => {
            cannot_start(pod, waiting.message.as_deref().unwrap_or_default())
        }
        _ => creating(pod, notes),
    }
}

/// Nothing is wrong yet, or only the events know what.
fn creating(pod: &Pod, notes: &[Note]) -> Verdict {
    let of_this_pod = notes.iter().rev().filter(|note| Some(&note.uid) == pod.metadata.uid.as_ref());
    for note in of_this_pod {
        let said = note.message.trim().trim_end_matches('.');
        let (reason, message) = match note.reason.as_str() {
            "Pulling" => ("PullingImage", format!("pulling image {}", image_name(pod))),
            "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => {
                let which = if other_claims(pod).is_empty() { "the home volume" } else { "a volume" };
                ("VolumeNotMounted", format!("{which} cannot be mounted yet: {said}"))
            }
            "FailedCreatePodSandBox" => ("NetworkNotReady", format!("the pod's network cannot be set up yet: {said}")),
            "Pulled" | "Created" | "Started" => break,
            _ => continue,
        };
        return Verdict::new(Phase::Starting, reason, message);
    }
    Verdict::new(Phase::Starting, "CreatingContainer", format!("starting on node {}", node(pod)))
}

fn image(pod: &Pod, waiting: &ContainerStateWaiting, notes: &[Note]) -> Verdict {
    let said = waiting.message.as_deref().unwrap_or_default();
    // `Back-off pulling image "x": ErrImagePull: …`; older kubelets stop after the name, and only an event tells more.
    let said = match said.strip_prefix("Back-off pulling image ") {
        Some(rest) => rest.split_once(": ErrImagePull: ").map(|(_, cause)| cause).or_else(|| {
            let failed = |note: &&Note| Some(&note.uid) == pod.metadata.uid.as_ref() && note.reason == "Failed";
            notes.iter().rev().find(failed).and_then(|note| note.message.split_once(": ").map(|(_, cause)| cause))
        }),
        None => Some(said),
    };
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let cause = match reason {
        "InvalidImageName" => "the name is not valid",
        "ErrImageNeverPull" => "it is not on the node, and may not be pulled",
        _ => said.map_or("trying again", cause_of_pull),
    };
    let needs_someone = matches!(reason, "InvalidImageName" | "ErrImageNeverPull")
        || ["not found", "manifest unknown", "denied", "unauthorized", "authorization failed", "invalid reference"]
            .iter()
            .any(|hopeless| cause.to_lowercase().contains(hopeless));
    let phase = if needs_someone { Phase::Failed } else { Phase::Starting };
    Verdict::new(phase, reason::CANNOT_PULL_IMAGE, format!("cannot pull image {}: {cause}", image_name(pod)))
}

/// `rpc error: … desc = failed to pull and unpack image "x": failed to resolve reference "x": x: not found` →
/// `not found`.
fn cause_of_pull(said: &str) -> &str {
    let mut cause = said.rsplit_once(" desc = ").map_or(said, |(_, cause)| cause);
    for step in ["failed to pull and unpack image \"", "failed to resolve reference \"", "failed to resolve image \""] {
        let Some((image, rest)) = cause.strip_prefix(step).and_then(|rest| rest.split_once("\": ")) else { continue };
        cause = rest.strip_prefix(image).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(rest);
    }
    cause
}

fn restarting(pod: &Pod, end: &ContainerStateTerminated) -> Verdict {
    if matches!(end.reason.as_deref(), Some("StartError" | "ContainerCannotRun")) {
        return cannot_start(pod, end.message.as_deref().unwrap_or_default());
    }
    let why = with_advice(pod, end, None);
    Verdict::new(Phase::Starting, "ContainerEnded", format!("the container is started again: {why}"))
}

fn cannot_start(pod: &Pod, said: &str) -> Verdict {
    let program = || {
        let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == names::CONTAINER)?;
        container.command.as_ref()?.first().cloned()
    };
    let is_missing = said.contains("executable file not found") || said.contains("no such file or directory");
    match program().filter(|_| is_missing) {
        Some(program) => {
            let message = format!("image {} has no program {program}", image_name(pod));
            Verdict::new(Phase::Failed, reason::COMMAND_NOT_FOUND, message)
        }
        None => Verdict::new(Phase::Starting, "CannotStart", format!("cannot start the container: {said}")),
    }
}
