//! What to do next with the pod of a DevServer. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;

use super::build::is_replaced_by;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is as it should be, or comes to it by itself.
    Keep,
    /// There is none: make it.
    Create,
    /// Away with it: its spec changed, or it belongs to a DevServer of the same name that is gone.
    Replace,
    /// Away with it: it is to sleep.
    Suspend,
    /// Away with it: its DevServer goes, or is gone.
    End,
    /// Away with it: it ended and no kubelet will start it again.
    ClearAway,
    /// It goes; the next one can be made when it is gone.
    WaitUntilGone,
    /// The home has no volume yet. A pod made now would be put aside by the scheduler for a second or more.
    WaitForVolume,
    /// A team's volume is to be mounted and is not bound yet.
    WaitForTeamsVolume,
    /// It died again and again.
    Pause(Duration),
}

/// What there is.
pub(super) struct Situation<'a> {
    pub(super) pod: Option<&'a Pod>,
    pub(super) wanted: &'a Pod,
    pub(super) owner_uid: &'a str,
    pub(super) volume: Volume,
    /// How much longer to wait for the volume.
    pub(super) patience: Duration,
    /// How long until a pod that keeps dying may be made again.
    pub(super) pause: Duration,
}

/// Whether the home, and what her teams share with her, can be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Volume {
    Bound,
    /// It is bound when a pod needs it.
    BindsWithPod,
    /// It should be bound any moment, whether there is a pod or not.
    Binding,
    /// The home can be, and a team's volume should be any moment.
    TeamsBinding,
}

pub(super) fn next_step(situation: &Situation<'_>) -> Step {
    let Situation { pod, wanted, owner_uid, volume, patience, pause } = *situation;
    let Some(pod) = pod else {
        return match volume {
            Volume::Binding if !patience.is_zero() => Step::WaitForVolume,
            Volume::TeamsBinding if !patience.is_zero() => Step::WaitForTeamsVolume,
            _ if !pause.is_zero() => Step::Pause(pause),
            _ => Step::Create,
        };
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return Step::WaitUntilGone;
    }
    if !belongs_to(pod, owner_uid) || is_replaced_by(pod, wanted) {
        return Step::Replace;
    }
    if has_ended(pod) {
        return if pause.is_zero() { Step::ClearAway } else { Step::Pause(pause) };
    }
    Step::Keep
}

pub(super) fn belongs_to(pod: &Pod, owner_uid: &str) -> bool {
    pod.owner_references().iter().any(|owner| owner.uid == owner_uid)
}

/// Evicted, shut down with its node, or refused by a kubelet. Its containers are restarted in place otherwise.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

pub(super) fn volume(claim: &PersistentVolumeClaim, class: Option<&StorageClass>) -> Volume {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let mode = class.and_then(|class| class.volume_binding_mode.as_deref());
    match (phase, mode) {
        // It goes, and is made anew.
        _ if claim.metadata.deletion_timestamp.is_some() => Volume::Binding,
        (Some("Bound"), _) => Volume::Bound,
        (_, Some("WaitForFirstConsumer")) => Volume::BindsWithPod,
        _ => Volume::Binding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DevServerSpec;
    use crate::operator::devserver::build::test_pod as pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    const SOON: Duration = Duration::from_secs(1);

    fn step(there: Option<&Pod>, volume: Volume, patience: Duration, pause: Duration) -> Step {
        let wanted = pod(DevServerSpec::default());
        next_step(&Situation { pod: there, wanted: &wanted, owner_uid: "uid-1", volume, patience, pause })
    }

    fn with_phase(phase: &str) -> Pod {
        let mut pod = pod(DevServerSpec::default());
        pod.status = serde_json::from_value(json!({ "phase": phase })).unwrap();
        pod
    }

    #[test]
    fn without_a_pod_one_is_made_once_its_home_can_be_mounted() {
        let none = Duration::ZERO;
        assert_eq!(step(None, Volume::Bound, SOON, none), Step::Create);
        assert_eq!(step(None, Volume::BindsWithPod, SOON, none), Step::Create);
        assert_eq!(step(None, Volume::Binding, SOON, none), Step::WaitForVolume);
        assert_eq!(step(None, Volume::Binding, none, none), Step::Create, "the scheduler shall say what is missing");
        assert_eq!(step(None, Volume::TeamsBinding, SOON, none), Step::WaitForTeamsVolume);
        assert_eq!(step(None, Volume::TeamsBinding, none, none), Step::Create, "without it");
        assert_eq!(step(None, Volume::Bound, none, SOON), Step::Pause(SOON));
    }

    #[test]
    fn a_pod_is_kept_until_it_ends_or_its_owner_wants_another() {
        let keep = |pod: &Pod, pause| step(Some(pod), Volume::Bound, SOON, pause);
        assert_eq!(keep(&with_phase("Pending"), SOON), Step::Keep);
        assert_eq!(keep(&with_phase("Running"), SOON), Step::Keep);
        for phase in ["Failed", "Succeeded"] {
            assert_eq!(keep(&with_phase(phase), Duration::ZERO), Step::ClearAway);
            assert_eq!(keep(&with_phase(phase), SOON), Step::Pause(SOON));
        }
        let other = pod(DevServerSpec { image: Some("other".to_owned()), ..DevServerSpec::default() });
        assert_eq!(keep(&other, Duration::ZERO), Step::Replace);

        let mut of_an_earlier_one = with_phase("Running");
        of_an_earlier_one.owner_references_mut()[0].uid = "uid-0".to_owned();
        assert_eq!(keep(&of_an_earlier_one, Duration::ZERO), Step::Replace);

        let mut going = other;
        going.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(keep(&going, Duration::ZERO), Step::WaitUntilGone);
    }

    #[test]
    fn a_volume_binds_by_itself_unless_its_class_waits_for_a_pod() {
        let claim = |phase: &str| -> PersistentVolumeClaim {
            serde_json::from_value(json!({ "status": { "phase": phase } })).unwrap()
        };
        let class = |mode: &str| -> StorageClass {
            serde_json::from_value(json!({ "provisioner": "x", "volumeBindingMode": mode })).unwrap()
        };
        let waits = class("WaitForFirstConsumer");
        assert_eq!(volume(&claim("Bound"), Some(&waits)), Volume::Bound);
        assert_eq!(volume(&claim("Pending"), Some(&waits)), Volume::BindsWithPod);
        assert_eq!(volume(&claim("Pending"), Some(&class("Immediate"))), Volume::Binding);
        assert_eq!(volume(&claim("Pending"), None), Volume::Binding);
        let mut going = claim("Bound");
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(volume(&going, None), Volume::Binding, "the next one");
    }
}
