//! The pod of a DevServer, and when a pod that exists is no longer the one that is wanted.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerStatus, EnvVar, Pod, PodSecurityContext, PodSpec, ResourceRequirements,
    SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::labels;
use super::startup::{script_variable, startup_probe};
use super::volumes::{agent_mount, mounts, volumes};
use crate::api::{RunAs, TimeSpan, names};
use crate::operator::AgentConfig;
use crate::operator::devserver::resolve::Resolved;

pub(in super::super) fn build_pod(wanted: &Resolved) -> Pod {
    let spec = build_spec(wanted);
    let flavor = wanted.flavor.name.clone().map(|name| (FLAVOR, name));
    // In neither hash: what a flavor's limit becomes replaces no pod.
    let time_limit = wanted.flavor.time_limit.map(|limit| (TIME_LIMIT, format!("{}s", limit.as_secs())));
    let annotations = [(WISHES_HASH, hash(&wanted.wishes)), (TEMPLATE_HASH, hash(&spec))];
    let annotations = annotations.into_iter().chain(flavor).chain(time_limit);
    Pod {
        metadata: ObjectMeta {
            name: Some(wanted.name.clone()),
            namespace: Some(wanted.namespace.clone()),
            labels: Some(labels(wanted)),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).collect()),
            owner_references: Some(vec![wanted.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// Whether `pod` has to go for `wanted`. A pod that runs goes only for its owner's own change: what an administrator
/// does to a flavor or to a default must not end anybody's work. A pod that nobody works in goes for any.
pub(in super::super) fn is_replaced_by(pod: &Pod, wanted: &Pod) -> bool {
    annotation(pod, WISHES_HASH) != annotation(wanted, WISHES_HASH)
        || (!has_started(pod) && !is_same_template(pod, wanted))
}

/// Whether `pod` was made as `wanted` would be.
pub(in super::super) fn is_same_template(pod: &Pod, wanted: &Pod) -> bool {
    annotation(pod, TEMPLATE_HASH) == annotation(wanted, TEMPLATE_HASH)
}

fn build_spec(wanted: &Resolved) -> PodSpec {
    let home = &wanted.home;
    let flavor = &wanted.flavor;
    let agent = wanted.agent.as_ref();
    PodSpec {
        hostname: Some(wanted.name.clone()),
        service_account_name: Some(names::service_account(&wanted.user).to_owned()),
        // The account is the bastion's way in, and not the pod's way to the API server unless its owner says so.
        automount_service_account_token: Some(wanted.has_token),
        // Addresses of every service of the namespace in the environment of every program: nobody's wish.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(5),
        restart_policy: Some("Always".to_owned()),
        runtime_class_name: flavor.runtime_class_name.clone(),
        node_selector: Some(flavor.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: Some(flavor.tolerations.clone()).filter(|tolerations| !tolerations.is_empty()),
        // No user: the image's own, or the container's. Privilege escalation stays allowed, for sudo.
        security_context: Some(PodSecurityContext {
            seccomp_profile: Some(runtimes_own()),
            // A new volume is root's; this lets an image's other user write in it. Only when the root of the volume
            // differs, or each start would walk through every file of the home. One group whatever user.gid says, for
            // it is of all volumes: of members of a team who start in turn each would have all of its volume given to
            // his own. Every process of the pod is in it.
            fs_group: Some(home.group),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            ..PodSecurityContext::default()
        }),
        containers: vec![Container {
            name: names::CONTAINER.to_owned(),
            image: Some(wanted.image.clone()),
            command: Some(command(wanted)),
            working_dir: Some(home.mount_path.clone()),
            env: Some(iter::once(home_variable(wanted)).chain(wanted.env.clone()).collect()),
            resources: Some(flavor.resources.clone()),
            volume_mounts: Some(mounts(wanted)),
            security_context: security_context(wanted),
            startup_probe: wanted.startup_script.as_ref().map(|_| startup_probe()),
            ..Container::default()
        }],
        init_containers: agent.map(|agent| vec![install_agent(agent, wanted)]),
        volumes: Some(volumes(wanted)),
        ..PodSpec::default()
    }
}

/// The agent is the first process where there is one, and runs what the owner wants to run; she may want nothing.
fn command(wanted: &Resolved) -> Vec<String> {
    let own = wanted.command.clone();
    match wanted.agent {
        Some(_) => [names::AGENT, "run", "--"].map(str::to_owned).into_iter().chain(own.unwrap_or_default()).collect(),
        None => own.unwrap_or_else(|| ["sh", "-c", WAIT_AND_REAP].map(str::to_owned).into()),
    }
}

fn security_context(wanted: &Resolved) -> Option<SecurityContext> {
    if wanted.is_restricted {
        return Some(restricted(&wanted.user_in_pod));
    }
    let RunAs { uid, gid, sudo } = wanted.user_in_pod;
    let may_not_gain_rights = (sudo == Some(false)).then_some(false);
    (uid.is_some() || gid.is_some() || may_not_gain_rights.is_some()).then(|| SecurityContext {
        run_as_user: uid,
        run_as_group: gid,
        allow_privilege_escalation: may_not_gain_rights,
        ..SecurityContext::default()
    })
}

/// What Pod Security `restricted` asks of each container, also of one that is over before anybody comes.
fn restricted(user: &RunAs) -> SecurityContext {
    SecurityContext {
        run_as_user: user.uid,
        run_as_group: user.gid,
        run_as_non_root: Some(true),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        seccomp_profile: Some(runtimes_own()),
        ..SecurityContext::default()
    }
}

fn runtimes_own() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

/// The first, so that others can refer to it.
fn home_variable(wanted: &Resolved) -> EnvVar {
    EnvVar { name: "HOME".to_owned(), value: Some(wanted.home.mount_path.clone()), value_from: None }
}

/// Brings the agent into the pod. A pod asks for the most that any of its containers does: with what the namespace
/// gives to those that say nothing, a small pod would not be small, nor a guaranteed one guaranteed.
fn install_agent(agent: &AgentConfig, wanted: &Resolved) -> Container {
    let resources = &wanted.flavor.resources;
    let own = |quantities: &Option<BTreeMap<String, Quantity>>| {
        let mut own = quantities.clone()?;
        own.retain(|name, _| matches!(name.as_str(), "cpu" | "memory")); // And no GPU, say.
        Some(own)
    };
    let (requests, limits) = (own(&resources.requests), own(&resources.limits));
    Container {
        resources: Some(ResourceRequirements { requests, limits, claims: None }),
        name: INSTALL_AGENT.to_owned(),
        image: Some(agent.image.clone()),
        command: Some(vec![agent.path.clone(), "install".to_owned(), names::AGENT_FOLDER.to_owned()]),
        env: wanted.startup_script.as_ref().map(|script| vec![script_variable(script)]),
        volume_mounts: Some(vec![agent_mount()]),
        // Else whoever its image says: it needs nothing.
        security_context: wanted.is_restricted.then(|| restricted(&wanted.user_in_pod)),
        ..Container::default()
    }
}

/// What a pod was made of, as far as that outlives a change of its DevServer's spec.
pub(in super::super) struct MadeOf<'a> {
    pub(in super::super) flavor: &'a str,
    /// The flavor's, when the pod was made.
    pub(in super::super) time_limit: Option<Duration>,
}

/// None for a pod without flavor, and for one that an older operator made, which did not note it.
pub(in super::super) fn made_of(pod: &Pod) -> Option<MadeOf<'_>> {
    let time_limit = annotation(pod, TIME_LIMIT).and_then(|noted| TimeSpan(noted.clone()).get());
    Some(MadeOf { flavor: annotation(pod, FLAVOR)?, time_limit })
}

/// Whether an agent was put into `pod`.
pub(in super::super) fn has_agent(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    containers.is_some_and(|all| all.iter().any(|container| container.name == INSTALL_AGENT))
}

/// Also while its startup script runs: until that has ended its container counts as not started.
fn has_started(pod: &Pod) -> bool {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let runs = |one: &ContainerStatus| one.state.as_ref().is_some_and(|state| state.running.is_some());
    containers.is_some_and(|all| all.iter().any(|one| one.started == Some(true) || runs(one)))
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a String> {
    pod.annotations().get(key)
}

fn hash(what: &impl Serialize) -> String {
    let json = serde_json::to_vec(what).expect("our own types have string keys and nothing that fails");
    Sha256::digest(json)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

const INSTALL_AGENT: &str = "install-agent";
const WISHES_HASH: &str = "devserver.io/spec-hash";
const TEMPLATE_HASH: &str = "devserver.io/template-hash";
const FLAVOR: &str = "devserver.io/flavor";
const TIME_LIMIT: &str = "devserver.io/time-limit";

/// Process 1 of a pod whose image brings none of its own. Process 1 has no default signal handlers, so without the trap
/// every stop would take the whole grace period. `wait` reaps what dying sessions leave behind, and is interrupted by
/// the trap, which a foreground `sleep` would hold up.
const WAIT_AND_REAP: &str = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::{self, DevServerSpec, EnvVarSource, Home, SecretKeyRef};
    use crate::operator::devserver::resolve::tests::{flavor, server};
    use crate::operator::devserver::resolve::{fit, resolve, test_terms};
    use crate::operator::tests::config;
    use crate::provisioning::PodSecurity;
    use k8s_openapi::api::core::v1::Toleration;
    use std::sync::Arc;

    pub(in crate::operator::devserver) fn pod(spec: DevServerSpec) -> Pod {
        build_pod(&resolve(&server(spec), &[flavor("small", true), flavor("large", false)], &config()).unwrap())
    }

    pub(in crate::operator::devserver::build) fn started(mut pod: Pod) -> Pod {
        pod.status = serde_json::from_value(serde_json::json!({
            "containerStatuses": [{
                "name": "devserver", "image": "x", "imageID": "x", "ready": true, "restartCount": 0, "started": true
            }]
        }))
        .unwrap();
        pod
    }

    #[test]
    fn an_agent_is_the_first_process_and_runs_what_the_owner_wants() {
        let mut config = config();
        config.agent.image = "bastion:1".to_owned();
        let spec = DevServerSpec { command: Some(vec!["jupyter".to_owned()]), ..DevServerSpec::default() };
        let pod = build_pod(&resolve(&server(spec), &[flavor("small", true)], &config).unwrap());
        assert!(has_agent(&pod));
        let spec = pod.spec.unwrap();
        let install = &spec.init_containers.unwrap()[0];
        assert_eq!(install.image.as_deref(), Some("bastion:1"));
        assert_eq!(install.command.as_ref().unwrap(), &["/bastion-agent", "install", "/.bastion"]);
        assert_eq!(install.resources, spec.containers[0].resources, "the pod asks for no more");
        assert_eq!(spec.containers[0].command.as_ref().unwrap(), &["/.bastion/bastion-agent", "run", "--", "jupyter"]);
        assert!(!has_agent(&super::tests::pod(DevServerSpec::default())));
    }

    #[test]
    fn the_pod_is_the_devservers_and_can_do_no_more_than_it_needs() {
        let pod = pod(DevServerSpec::default());
        let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.controller), ("DevServer", "dev", Some(true)));
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.service_account_name.as_deref(), Some("alice"));
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert_eq!(spec.enable_service_links, Some(false));
        assert_eq!(spec.hostname.as_deref(), Some("dev"));
        assert_eq!(spec.termination_grace_period_seconds, Some(5));
        assert_eq!(spec.node_selector.as_ref().unwrap()["pool"], "small");
        let container = &spec.containers[0];
        assert_eq!(container.name, "devserver");
        assert_eq!(container.security_context, None, "sudo works");
        assert_eq!(container.command.as_ref().unwrap()[..2], ["sh", "-c"]);
        assert_eq!(container.resources.as_ref().unwrap().limits.as_ref().unwrap()["cpu"].0, "4");
    }

    #[test]
    fn a_flavor_says_where_the_pod_runs_and_by_what() {
        let mut sandboxed = Arc::unwrap_or_clone(flavor("small", true));
        sandboxed.spec.runtime_class_name = Some("gvisor".to_owned());
        let toleration = Toleration { key: Some("gpu".to_owned()), ..Toleration::default() };
        sandboxed.spec.tolerations = vec![toleration.clone()];
        let with = |flavor| {
            let wanted = resolve(&server(DevServerSpec::default()), &[flavor], &config()).unwrap();
            build_pod(&wanted).spec.unwrap()
        };
        let spec = with(Arc::new(sandboxed));
        assert_eq!((spec.runtime_class_name.as_deref(), spec.tolerations), (Some("gvisor"), Some(vec![toleration])));
        let spec = with(flavor("small", true));
        assert_eq!((spec.runtime_class_name, spec.tolerations), (None, None));
    }

    #[test]
    fn home_is_mounted_entered_and_named_at_the_path_of_the_spec() {
        let home = Home { mount_path: Some("/root".to_owned()), ..Home::default() };
        let pod = pod(DevServerSpec { home: Some(home), ..DevServerSpec::default() });
        let spec = pod.spec.unwrap();
        let container = &spec.containers[0];
        assert_eq!(container.working_dir.as_deref(), Some("/root"));
        assert_eq!(container.volume_mounts.as_ref().unwrap()[0].mount_path, "/root");
        assert_eq!(container.env.as_ref().unwrap()[0].value.as_deref(), Some("/root"));
        let volume = spec.volumes.unwrap()[0].persistent_volume_claim.clone().unwrap();
        assert_eq!(volume.claim_name, "dev-home");
    }

    #[test]
    fn the_specs_command_replaces_the_waiting_shell() {
        let command = vec!["/pause".to_owned()];
        let pod = pod(DevServerSpec { command: Some(command.clone()), ..DevServerSpec::default() });
        assert_eq!(pod.spec.unwrap().containers[0].command, Some(command));
    }

    #[test]
    fn the_specs_variables_follow_home() {
        let secret = SecretKeyRef { name: "wandb".to_owned(), key: "token".to_owned(), optional: Some(true) };
        let env = vec![
            api::EnvVar { name: "PATH".to_owned(), value: Some("/opt/bin:/bin".to_owned()), value_from: None },
            api::EnvVar {
                name: "TOKEN".to_owned(),
                value: None,
                value_from: Some(EnvVarSource { secret_key_ref: secret }),
            },
        ];
        let (before, after) = (pod(DevServerSpec::default()), pod(DevServerSpec { env, ..DevServerSpec::default() }));
        assert!(is_replaced_by(&started(before), &after), "the owner changed it");
        let env = after.spec.unwrap().containers[0].env.clone().unwrap();
        let names: Vec<&str> = env.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(names, ["HOME", "PATH", "TOKEN"]);
        assert_eq!(env[1].value.as_deref(), Some("/opt/bin:/bin"));
        let from = env[2].value_from.clone().unwrap().secret_key_ref.unwrap();
        assert_eq!((from.name.as_str(), from.key.as_str(), from.optional), ("wandb", "token", Some(true)));
    }

    #[test]
    fn the_owner_says_whom_programs_run_as() {
        let with = |user| pod(DevServerSpec { user: Some(user), ..DevServerSpec::default() }).spec.unwrap();
        let spec = with(RunAs { uid: Some(1234), gid: Some(4321), sudo: Some(false) });
        let context = spec.containers[0].security_context.clone().unwrap();
        assert_eq!((context.run_as_user, context.run_as_group), (Some(1234), Some(4321)));
        assert_eq!(context.allow_privilege_escalation, Some(false));
        assert_eq!(
            spec.security_context.unwrap().fs_group,
            Some(1000),
            "one for all members of a team; she is in it, too"
        );
        let spec = with(RunAs { sudo: Some(true), ..RunAs::default() });
        assert_eq!(spec.containers[0].security_context, None);
    }

    #[test]
    fn under_restricted_each_container_is_as_pod_security_asks() {
        let mut config = config();
        config.agent.image = "bastion:1".to_owned();
        let build = |user: Option<RunAs>, level| {
            let spec = DevServerSpec { user, ..DevServerSpec::default() };
            let wanted = resolve(&server(spec), &[flavor("small", true)], &config).unwrap();
            build_pod(&fit(wanted, &test_terms(level, &[]), &config).unwrap())
        };
        let gid = Some(RunAs { uid: Some(1234), gid: Some(4321), sudo: None });
        for (user, as_user, as_group) in [(None, 1000, None), (gid, 1234, Some(4321))] {
            let pod = build(user, PodSecurity::Restricted).spec.unwrap();
            for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
                let expected = serde_json::json!({
                    "runAsUser": as_user, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
                });
                let mut context = serde_json::to_value(&container.security_context).unwrap();
                let group = context.as_object_mut().unwrap().remove("runAsGroup");
                assert_eq!(group, as_group.map(serde_json::Value::from), "{}", container.name);
                assert_eq!(context, expected, "{}", container.name);
            }
            assert_eq!((pod.containers.len(), pod.init_containers.map(|all| all.len())), (1, Some(1)));
        }
        let (loose, tight) = (build(None, PodSecurity::Baseline), build(None, PodSecurity::Restricted));
        let installs = &loose.spec.as_ref().unwrap().init_containers.as_ref().unwrap()[0];
        assert_eq!(installs.security_context, None);
        assert!(!is_replaced_by(&started(loose.clone()), &tight), "what runs is not ended for a new setting");
        assert!(is_replaced_by(&loose, &tight), "what could not start is made so that it can");
    }

    /// Otherwise a new version of the operator would end everybody's work.
    #[test]
    fn a_field_that_nobody_uses_changes_no_wish() {
        let known = serde_json::json!({ "flavor": null, "image": null, "command": null, "mount_path": null });
        let wanted = resolve(&server(DevServerSpec::default()), &[flavor("small", true)], &config()).unwrap();
        assert_eq!(serde_json::to_value(&wanted.wishes).unwrap(), known);
    }

    #[test]
    fn a_running_pod_goes_for_its_owners_change_alone() {
        let large = || DevServerSpec { flavor: Some("large".to_owned()), ..DevServerSpec::default() };
        let (before, after) = (pod(DevServerSpec::default()), pod(large()));
        assert!(is_replaced_by(&started(before.clone()), &after), "another flavor in the spec");
        assert!(!is_replaced_by(&started(before.clone()), &before));
        let shm = DevServerSpec { shm: Some(Quantity("1Gi".to_owned())), ..DevServerSpec::default() };
        let data = api::Volume { claim: "data".to_owned(), mount_path: "/data".to_owned(), read_only: true };
        let volumes = DevServerSpec { volumes: vec![data], ..DevServerSpec::default() };
        let token = DevServerSpec { automount_service_account_token: true, ..DevServerSpec::default() };
        assert_eq!(pod(token.clone()).spec.unwrap().automount_service_account_token, Some(true));
        for spec in [shm, volumes, token] {
            assert!(is_replaced_by(&started(before.clone()), &pod(spec)));
        }

        let mut wider = before.clone();
        wider.annotations_mut().insert(TEMPLATE_HASH.to_owned(), "what the administrator made of it".to_owned());
        assert!(!is_replaced_by(&started(before.clone()), &wider), "someone may work in it");
        let mut in_its_script = started(before.clone());
        let container = &mut in_its_script.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
        container.started = Some(false);
        container.state = serde_json::from_value(serde_json::json!({ "running": {} })).unwrap();
        assert!(!is_replaced_by(&in_its_script, &wider), "its startup script runs");
        assert!(is_replaced_by(&before, &wider), "it never ran: it waits for what was just put right");
    }

    /// The script is what stands between a stop and the grace period, in whatever shell the image has.
    #[test]
    fn the_waiting_shell_ends_at_once_when_told_to() {
        use std::io::{BufRead, BufReader};
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};
        use std::time::{Duration, Instant};
        // Once its `sleep` begins it has said what it does when it is told to end.
        let script = format!("sleep() {{ echo asleep; command sleep \"$@\"; }}; {WAIT_AND_REAP}");
        for shell in [&["sh"][..], &["bash"], &["busybox", "sh"]] {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::null());
            let Ok(mut child) = command.process_group(0).spawn() else { continue };
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "asleep\n", "{shell:?}");
            let told = Instant::now();
            // As process 1 it takes its `sleep` with it; here the whole group is told.
            Command::new("kill").args(["--", &format!("-{}", child.id())]).status().unwrap();
            assert!(child.wait().unwrap().success(), "{shell:?}");
            assert!(told.elapsed() < Duration::from_secs(60), "{shell:?}");
        }
    }
}
