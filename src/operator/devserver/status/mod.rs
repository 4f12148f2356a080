//! What to tell of a DevServer: phase, condition, and a sentence for its owner. Pure but for the clock of the
//! condition.

mod advice;
mod container_end;
mod last_end;
mod pod;
mod startup;
mod steps;
mod verdicts;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

pub(super) use self::last_end::of_gone as end_of_gone;
pub(super) use self::startup::is_in_doubt;
use super::build::has_agent;
use super::done::Done;
use super::events::Note;
use super::lifecycle::{self, Life, State};
use super::refusal::RefusalKind;
use super::resolve::Invalid;
use super::step::{Step, has_ended};

use crate::api::conditions::reason;
use crate::api::{DevServer, DevServerStatus, Phase, conditions, names};

/// A phase, why, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) phase: Phase,
    /// The condition's reason.
    pub(super) reason: &'static str,
    pub(super) message: Option<String>,
}

impl Verdict {
    pub(super) fn new(phase: Phase, reason: &'static str, message: impl Into<String>) -> Self {
        Self { phase, reason, message: Some(message.into()) }
    }
}

pub(super) fn status(
    server: &DevServer,
    life: &Life,
    invalid: Option<&Invalid>,
    done: &Done,
    notes: &[Note],
) -> DevServerStatus {
    let Verdict { phase, reason, mut message } = verdict(server, life, invalid, done, notes);
    message = message.map(|message| advice::append(message, &server.name_any(), reason));
    let generation = server.metadata.generation;
    let known = server.status.as_ref();
    let mut conditions = known.map(|status| status.conditions.clone()).unwrap_or_default();
    let now = Time(Timestamp::now());
    let failure = startup::set_condition(&mut conditions, done.pod.as_deref(), notes, generation, &now);
    if phase == Phase::Running {
        message = message.or(failure);
    }
    let ready = conditions::condition(
        conditions::READY,
        phase == Phase::Running,
        reason,
        message.as_deref().unwrap_or_default(),
        generation,
        now,
    );
    conditions::set(&mut conditions, ready);
    DevServerStatus {
        phase,
        message,
        pod_name: (phase == Phase::Running).then(|| server.name_any()),
        pod_uid: done.pod.as_ref().filter(|_| phase == Phase::Running).and_then(|pod| pod.metadata.uid.clone()),
        agent: phase == Phase::Running && done.pod.as_deref().is_some_and(has_agent),
        activity: None,
        last_end: last_end::newest(known, done.pod.as_deref()),
        told_time: None,
        steps: steps::steps(known, done.pod.as_deref(), notes),
        start_time: life.start_time.clone(),
        expiration_time: life.expiration_time.clone(),
        idle: Some(life.idle.clone()),
        suspension: life.suspension.clone(),
        observed_generation: generation,
        conditions,
    }
}

fn verdict(server: &DevServer, life: &Life, invalid: Option<&Invalid>, done: &Done, notes: &[Note]) -> Verdict {
    let Done { pod, claim, step, refusal, note, look_again: _ } = done;
    let is_ephemeral = server.spec.home.as_ref().is_some_and(|home| home.ephemeral);
    if server.metadata.deletion_timestamp.is_some() {
        let message = if is_ephemeral { "the pod stops, and its home goes with it" } else { "the pod stops" };
        return Verdict::new(Phase::Terminating, "Deleting", message);
    }
    if let (State::Asleep, Some(suspension)) = (life.state, &life.suspension) {
        let sleeps = lifecycle::sleeps(suspension, is_ephemeral);
        // It may still hold its GPU and its home.
        let message = match pod.as_deref() {
            Some(pod) => format!("{sleeps}; {}", verdicts::stopping(pod)),
            None => sleeps,
        };
        return Verdict::new(Phase::Suspended, "Suspended", message);
    }
    if let Some(pod) = pod.as_deref().filter(|pod| *step == Step::Keep && pod::is_ready(pod)) {
        let message = invalid.map(|invalid| format!("{invalid}; the pod {} runs as before", pod.name_any()));
        // Whoever changed the spec is to know that it is not what runs.
        let reason = invalid.map_or(reason::RUNNING, Invalid::reason);
        return Verdict { phase: Phase::Running, reason, message: message.or_else(|| note.clone()) };
    }
    if let Some(invalid) = invalid {
        return Verdict::new(Phase::Failed, invalid.reason(), invalid.to_string());
    }
    if let Some(refusal) = refusal {
        let phase = match refusal.kind {
            RefusalKind::TooEarly | RefusalKind::Quota => Phase::Pending,
            RefusalKind::NameTaken | RefusalKind::Rejected => Phase::Failed,
        };
        return Verdict::new(phase, refusal.kind.reason(), &refusal.message);
    }
    match (step, pod.as_deref()) {
        (Step::WaitForVolume, _) => verdicts::volume(claim.as_deref(), notes),
        (Step::WaitForTeamsVolume, _) => {
            Verdict { phase: Phase::Pending, reason: "TeamVolumeNotBound", message: note.clone() }
        }
        (Step::Replace, _) => {
            Verdict::new(Phase::Starting, "Restarting", "the spec changed: the pod is being replaced")
        }
        (Step::WaitUntilGone, Some(pod)) => verdicts::going(pod),
        (_, Some(pod)) if has_ended(pod) => verdicts::ended(pod),
        (Step::Pause(_), _) => Verdict::new(
            Phase::Starting,
            "Pausing",
            "the last pods did not live long; the next one is made after a pause",
        ),
        (_, Some(pod)) => waiting(pod, claim.as_deref(), notes),
        (_, None) => Verdict::new(Phase::Pending, "CreatingPod", "the pod is being made"),
    }
}

/// A pod that comes to it by itself, unless something keeps it from it.
fn waiting(pod: &Pod, claim: Option<&PersistentVolumeClaim>, notes: &[Note]) -> Verdict {
    match pod::condition(pod, "PodScheduled") {
        Some(scheduled) if scheduled.status == "True" => verdicts::container(pod, notes),
        Some(scheduled) => {
            let said = scheduled.message.as_deref().unwrap_or_default();
            if said.contains("unbound immediate PersistentVolumeClaims") {
                return verdicts::unbound(pod, claim, notes);
            }
            if let Some(missing) =
                verdicts::missing_claim(said).filter(|name| *name != names::home_claim(&pod.name_any()))
            {
                return verdicts::no_claim(missing);
            }
            Verdict::new(Phase::Pending, reason::UNSCHEDULABLE, verdicts::unschedulable(said))
        }
        None if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) => verdicts::container(pod, notes),
        None => Verdict::new(Phase::Pending, "Scheduling", "waiting for a node"),
    }
}

#[cfg(test)]
mod tests;
