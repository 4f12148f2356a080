use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::api::{DevServerSpec, Home};
use crate::operator::devserver::idleness::Usage;
use crate::operator::devserver::refusal::Refusal;
use crate::operator::devserver::resolve::tests::server;
use crate::operator::tests::config;

/// What is seen of alice's `dev`.
struct Scene {
    server: DevServer,
    invalid: Option<Invalid>,
    done: Done,
    notes: Vec<Note>,
}

impl Scene {
    fn new(step: Step) -> Self {
        let done = Done { pod: None, claim: None, step, refusal: None, note: None, look_again: None };
        Self { server: server(DevServerSpec::default()), invalid: None, done, notes: Vec::new() }
    }

    fn pod(status: Value) -> Self {
        let mut scene = Self::new(Step::Keep);
        scene.done.pod = Some(Arc::new(
            serde_json::from_value(json!({
                "metadata": { "name": "dev", "uid": "pod-uid" },
                "spec": { "nodeName": "n1", "containers": [{
                    "name": "devserver", "image": "team/torch:1", "command": ["sh", "-c", "x"],
                    "resources": { "limits": { "memory": "2Gi" } }
                }] },
                "status": status
            }))
            .unwrap(),
        ));
        scene
    }

    /// A pod on a node whose container is in `state`.
    fn container(state: Value, last_state: Value) -> Self {
        Self::pod(json!({
            "conditions": [{ "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": "False" }],
            "containerStatuses": [{
                "name": "devserver", "image": "", "imageID": "", "ready": false, "restartCount": 1,
                "state": state, "lastState": last_state
            }]
        }))
    }

    fn waiting(reason: &str, message: &str) -> Self {
        Self::container(json!({ "waiting": { "reason": reason, "message": message } }), json!({}))
    }

    fn running() -> Self {
        Self::pod(json!({
            "conditions": [{ "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": "True" }],
            "containerStatuses": [{
                "name": "devserver", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": { "running": {} }
            }]
        }))
    }

    fn claim(mut self, phase: &str, class: Option<&str>) -> Self {
        self.done.claim = Some(Arc::new(
            serde_json::from_value(json!({
                "metadata": { "name": "dev-home", "uid": "claim-uid" },
                "spec": { "storageClassName": class },
                "status": { "phase": phase }
            }))
            .unwrap(),
        ));
        self
    }

    fn noted(mut self, uid: &str, reason: &str, message: &str) -> Self {
        let (uid, reason, message) = (uid.to_owned(), reason.to_owned(), message.to_owned());
        self.notes.push(Note { uid, reason, message, at: None, is_about_container: false });
        self
    }

    fn refused(mut self, kind: RefusalKind, message: &str) -> Self {
        self.done.refusal = Some(Refusal { kind, message: message.to_owned() });
        self
    }

    fn going(mut self) -> Self {
        let mut pod = self.done.pod.as_deref().unwrap().clone();
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        self.done.pod = Some(Arc::new(pod));
        self.done.step = Step::WaitUntilGone;
        self
    }

    fn status(&self) -> DevServerStatus {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let life = lifecycle::decide(&self.server, &Usage::Busy("x"), None, &config().lifecycle, now);
        status(&self.server, &life, self.invalid.as_ref(), &self.done, &self.notes)
    }

    #[track_caller]
    fn is(self, phase: Phase, message: &str) {
        let status = self.status();
        assert_eq!((status.phase, status.message.as_deref().unwrap_or_default()), (phase, message));
        assert_eq!(status.pod_name.is_some(), phase == Phase::Running);
        assert_eq!(status.conditions[0].status == "True", phase == Phase::Running);
        assert_eq!(status.observed_generation, Some(3));
    }
}

fn ended(code: i32, reason: &str, message: &str) -> Value {
    json!({ "terminated": { "exitCode": code, "reason": reason, "message": message } })
}

#[test]
fn a_ready_pod_is_running() {
    Scene::running().is(Phase::Running, "");
    let status = Scene::running().status();
    assert_eq!((status.pod_name.as_deref(), status.pod_uid.as_deref()), (Some("dev"), Some("pod-uid")));
}

#[test]
fn a_running_pod_is_not_ended_by_what_became_invalid() {
    let mut scene = Scene::running();
    scene.invalid = Some(Invalid::NoFlavor { name: "x".to_owned(), existing: vec!["a".to_owned()] });
    assert_eq!(scene.status().conditions[0].reason, "FlavorNotFound");
    scene.is(Phase::Running, r#"there is no flavor "x"; there are: a; the pod dev runs as before; `devctl update dev --flavor NAME` takes another of `devctl flavors`"#);

    let mut scene = Scene::running();
    scene.done.note = Some("the home keeps its 5Gi".to_owned());
    scene.is(Phase::Running, "the home keeps its 5Gi");
}

#[test]
fn what_is_invalid_failed() {
    let mut scene = Scene::new(Step::Keep);
    scene.invalid = Some(Invalid::NoFlavor { name: "x".to_owned(), existing: vec![] });
    assert_eq!(scene.status().conditions[0].reason, "FlavorNotFound");
    scene.is(Phase::Failed, r#"there is no flavor "x"; there are none; `devctl update dev --flavor NAME` takes another of `devctl flavors`"#);
}

#[test]
fn refusals_are_told() {
    let refused = |kind| Scene::new(Step::Create).refused(kind, "no");
    let quota = "no; `devctl top` shows your quota; suspend or delete another DevServer, or ask your administrator";
    refused(RefusalKind::Quota).is(Phase::Pending, quota);
    refused(RefusalKind::TooEarly).is(Phase::Pending, "no");
    refused(RefusalKind::Rejected).is(Phase::Failed, "no");
    refused(RefusalKind::NameTaken).is(Phase::Failed, "no");
}

#[test]
fn a_missing_volume_is_told_with_its_reason() {
    let waits = || Scene::new(Step::WaitForVolume);
    waits().is(Phase::Pending, "the home volume is being made");
    waits()
        .claim("Pending", Some("fast"))
        .is(Phase::Pending, "waiting for the home volume dev-home (storage class fast)");
    waits().claim("Pending", None).is(
        Phase::Pending,
        "the home volume dev-home cannot be made: the cluster has no default storage class; tell an administrator",
    );
    waits()
        .claim("Pending", Some("fast"))
        .noted("claim-uid", "ProvisioningFailed", "no space left.")
        .is(Phase::Pending, "the home volume dev-home cannot be made: no space left");
    waits()
        .claim("Lost", Some("fast"))
        .is(Phase::Failed, "the home volume dev-home is lost: its storage is gone; tell an administrator");

    let unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found";
    Scene::pod(json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": unbound }] }))
        .claim("Pending", Some("fast"))
        .is(Phase::Pending, "waiting for the home volume dev-home (storage class fast)");
}

#[test]
fn why_no_node_fits_is_told_without_noise() {
    let said = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: \
                0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    Scene::pod(json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": said }] })).is(
        Phase::Pending,
        "no node fits: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu; it starts as soon as there is room; \
             `devctl update dev --flavor NAME` takes another of `devctl flavors`",
    );
}

#[test]
fn images_that_cannot_be_pulled_are_told() {
    let missing = "rpc error: code = NotFound desc = failed to resolve reference \"team/torch:1\": not found";
    let with_advice = |cause: &str| {
        format!(
            "cannot pull image team/torch:1: {cause}; check its name and tag, and that the cluster may pull it; \
             `devctl update dev --image IMAGE` takes another"
        )
    };
    let told = with_advice("not found");
    Scene::waiting("ErrImagePull", missing).is(Phase::Failed, &told);
    let backing_off = format!("Back-off pulling image \"team/torch:1\": ErrImagePull: {missing}");
    Scene::waiting("ImagePullBackOff", &backing_off).is(Phase::Failed, &told);
    Scene::waiting("ImagePullBackOff", "Back-off pulling image \"team/torch:1\"")
        .noted("pod-uid", "Failed", &format!("Failed to pull image \"team/torch:1\": {missing}"))
        .is(Phase::Failed, &told);
    let full = "failed to pull and unpack image \"r/torch:1\": failed to resolve reference \"r/torch:1\": r/torch:1: not found";
    Scene::waiting("ErrImagePull", full).is(Phase::Failed, &with_advice("not found"));
    let no_answer = "dial tcp 10.0.0.1:443: i/o timeout";
    Scene::waiting("ErrImagePull", no_answer).is(Phase::Starting, &with_advice(no_answer));
    Scene::waiting("InvalidImageName", "x").is(Phase::Failed, &with_advice("the name is not valid"));
}

#[test]
fn a_start_is_told_step_by_step() {
    let creating = || Scene::waiting("ContainerCreating", "");
    creating().is(Phase::Starting, "starting on node n1");
    creating().noted("pod-uid", "Pulling", "").is(Phase::Starting, "pulling image team/torch:1");
    creating()
        .noted("pod-uid", "Pulling", "")
        .noted("pod-uid", "Pulled", "")
        .is(Phase::Starting, "starting on node n1");
    creating().noted("an-earlier-pod", "Pulling", "").is(Phase::Starting, "starting on node n1");
    creating()
        .noted("pod-uid", "FailedMount", "timed out.")
        .is(Phase::Starting, "the home volume cannot be mounted yet: timed out");
    Scene::pod(json!({ "conditions": [{ "type": "PodScheduled", "status": "True" }] }))
        .is(Phase::Starting, "starting on node n1");
}

#[test]
fn a_container_that_ended_is_told_with_advice() {
    let crashed = |end: Value| Scene::container(json!({ "waiting": { "reason": "CrashLoopBackOff" } }), end);
    crashed(ended(1, "Error", "")).is(
        Phase::Starting,
        "the container is started again: its command ended with exit code 1; `devctl logs dev --previous` shows what it wrote",
    );
    for (code, meaning) in [(126, "a program could not be run"), (127, "a program was not found")] {
        let why = format!("its command ended with exit code {code}: {meaning}");
        let told = format!("the container is started again: {why}; `devctl logs dev --previous` shows what it wrote");
        crashed(ended(code, "Error", "")).is(Phase::Starting, &told);
    }
    crashed(ended(137, "OOMKilled", "")).is(
        Phase::Starting,
        "the container is started again: it ran out of memory (all of its limit of 2Gi was in use); choose a larger flavor",
    );
    crashed(ended(0, "Completed", "")).is(
        Phase::Starting,
        "the container is started again: its command ended by itself; the DevServer's command has to keep running",
    );
    Scene::container(ended(2, "Error", ""), json!({})).is(
        Phase::Starting,
        "the container is started again: its command ended with exit code 2; `devctl logs dev --previous` shows what it wrote",
    );
}

#[test]
fn a_missing_claim_is_told() {
    let unscheduled = |said: &str| {
        Scene::pod(json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": said }] }))
    };
    let missing =
        "0/1 nodes are available: persistentvolumeclaim \"data\" not found. preemption: 0/1 nodes are available.";
    let scene = unscheduled(missing);
    assert_eq!(scene.status().conditions[0].reason, "ClaimNotFound");
    scene.is(
        Phase::Pending,
        "there is no claim data in the namespace; ask your administrator for it, or do without; if it is not the \
         flavor's, `devctl update dev --remove-volume PATH`",
    );

    let mut scene = unscheduled("pod has unbound immediate PersistentVolumeClaims").claim("Bound", Some("fast"));
    let mut pod = scene.done.pod.as_deref().unwrap().clone();
    let claims = json!([
        { "name": "home", "persistentVolumeClaim": { "claimName": "dev-home" } },
        { "name": "volume-1", "persistentVolumeClaim": { "claimName": "data" } }
    ]);
    pod.spec.as_mut().unwrap().volumes = serde_json::from_value(claims).unwrap();
    scene.done.pod = Some(Arc::new(pod));
    scene.is(
        Phase::Pending,
        "waiting for volumes, not all of which are bound yet: data; tell an administrator if it stays so",
    );
}

#[test]
fn a_missing_secret_is_told() {
    Scene::waiting("CreateContainerConfigError", "secret \"wandb\" not found").is(
        Phase::Starting,
        "the variables of spec.env cannot be read yet: secret \"wandb\" not found; ask your administrator for \
         what is missing, and it starts; `devctl update dev --unset-env NAME` does without it",
    );
}

#[test]
fn an_image_without_the_program_is_told() {
    let said = r#"exec: "sh": executable file not found in $PATH"#;
    let told = "image team/torch:1 has no program sh; take one that keeps running: `devctl update dev --command WORD…`";
    Scene::waiting("RunContainerError", said).is(Phase::Failed, told);
    Scene::container(json!({ "waiting": { "reason": "CrashLoopBackOff" } }), ended(128, "StartError", said))
        .is(Phase::Failed, told);
}

#[test]
fn a_pod_that_ended_is_made_again() {
    let evicted =
        json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. " });
    let mut scene = Scene::pod(evicted);
    scene.done.step = Step::ClearAway;
    scene.is(
        Phase::Starting,
        "the pod ended (it was evicted from node n1: The node was low on resource: memory); it is being replaced",
    );
}

#[test]
fn a_pod_that_goes_is_waited_for() {
    Scene::running().going().is(Phase::Starting, "waiting for the old pod to stop");
    let preempted =
        json!({ "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler" }] });
    Scene::pod(preempted).going().is(
        Phase::Starting,
        "it had to make room on node n1 for a pod of higher priority; waiting for the old pod to stop",
    );
}

#[test]
fn a_silent_node_is_told() {
    let mut status = json!({
        "conditions": [{ "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": "False" }],
        "containerStatuses": [{
            "name": "devserver", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": { "running": {} }
        }]
    });
    Scene::pod(status.clone()).is(Phase::Starting, "node n1 does not answer");
    let told = "node n1 does not answer, so nobody knows whether the old pod still runs; it is replaced when the node comes \
                back or an administrator removes it";
    Scene::pod(status.clone()).going().is(Phase::Pending, told);
    status["containerStatuses"][0]["ready"] = json!(false);
    Scene::pod(status).is(Phase::Starting, "the container runs but is not ready");
}

#[test]
fn a_devserver_that_goes_says_what_goes_with_it() {
    for (ephemeral, said) in [(false, "the pod stops"), (true, "the pod stops, and its home goes with it")] {
        let mut scene = Scene::running();
        scene.server.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        scene.server.spec.home = Some(Home { ephemeral, ..Home::default() });
        scene.is(Phase::Terminating, said);
    }
}
