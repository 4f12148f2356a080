//! The Pod Security level that a namespace enforces, in the words of its admission: what a pod of a user could try that
//! it is not to have. What nobody would notice here (SELinux, sysctls, ports of the host) is not looked at.

use crate::minik8s::object;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, SecurityContext, Volume};
use serde_json::Value;

/// Why the namespace has no such pod, if it has not.
pub(super) fn violated(pod: &Pod, namespace: Option<&std::sync::Arc<Value>>) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let level = object::text(&namespace?["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]);
    let violations = match level {
        "baseline" => baseline(spec),
        "restricted" => baseline(spec).into_iter().chain(restricted(spec)).collect(),
        _ => return None,
    };
    (!violations.is_empty()).then(|| format!("violates PodSecurity \"{level}:latest\": {}", violations.join(", ")))
}

fn baseline(spec: &PodSpec) -> Vec<String> {
    let host = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    let host = host.into_iter().filter(|(_, is_set)| *is_set == Some(true)).map(|(name, _)| format!("{name}=true"));
    let privileged = |context: &SecurityContext| context.privileged == Some(true);
    [
        told("host namespaces", host.collect()),
        told("privileged", named(spec, privileged, "must not set securityContext.privileged=true")),
        told(
            "non-default capabilities",
            named(
                spec,
                |context| adds_beyond(&DEFAULT_CAPABILITIES, context),
                "must not add others in securityContext.capabilities.add",
            ),
        ),
        told("hostPath volumes", volumes(spec, |volume| volume.host_path.is_some())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn restricted(spec: &PodSpec) -> Vec<String> {
    let of_pod = spec.security_context.as_ref();
    let escalates = |context: &SecurityContext| context.allow_privilege_escalation != Some(false);
    let keeps = |context: &SecurityContext| {
        let dropped = context.capabilities.as_ref().and_then(|capabilities| capabilities.drop.as_ref());
        !dropped.is_some_and(|dropped| dropped.iter().any(|capability| capability == "ALL"))
    };
    let may_be_root = |context: &SecurityContext| {
        context.run_as_non_root.or(of_pod.and_then(|of_pod| of_pod.run_as_non_root)) != Some(true)
    };
    let is_root =
        |context: &SecurityContext| context.run_as_user.or(of_pod.and_then(|of_pod| of_pod.run_as_user)) == Some(0);
    let unconfined = |context: &SecurityContext| {
        let profile = context.seccomp_profile.as_ref().or(of_pod.and_then(|of_pod| of_pod.seccomp_profile.as_ref()));
        !profile.is_some_and(|profile| matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost"))
    };
    let unusual = |volume: &Volume| {
        let Volume { config_map, csi, downward_api, empty_dir, ephemeral, persistent_volume_claim, .. } = volume;
        let usual = [config_map.is_some(), csi.is_some(), downward_api.is_some(), empty_dir.is_some()];
        let more = [ephemeral.is_some(), persistent_volume_claim.is_some(), volume.projected.is_some()];
        !usual.into_iter().chain(more).chain([volume.secret.is_some()]).any(|is_it| is_it)
    };
    [
        told(
            "allowPrivilegeEscalation != false",
            named(spec, escalates, "must set securityContext.allowPrivilegeEscalation=false"),
        ),
        told("unrestricted capabilities", named(spec, keeps, "must set securityContext.capabilities.drop=[\"ALL\"]")),
        told(
            "unrestricted capabilities",
            named(
                spec,
                |context| adds_beyond(&["NET_BIND_SERVICE"], context),
                "must not add any in securityContext.capabilities.add",
            ),
        ),
        told("runAsNonRoot != true", named(spec, may_be_root, "must set securityContext.runAsNonRoot=true")),
        told("runAsUser=0", named(spec, is_root, "must not set runAsUser=0")),
        told(
            "seccompProfile",
            named(
                spec,
                unconfined,
                "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            ),
        ),
        told("restricted volume types", volumes(spec, unusual)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn adds_beyond(permitted: &[&str], context: &SecurityContext) -> bool {
    let added = context.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_ref());
    added.into_iter().flatten().any(|capability| !permitted.contains(&capability.as_str()))
}

fn told(what: &str, offenders: Vec<String>) -> Option<String> {
    (!offenders.is_empty()).then(|| format!("{what} ({})", offenders.join(", ")))
}

/// The containers that do so, and what they have to do.
fn named(spec: &PodSpec, does: impl Fn(&SecurityContext) -> bool, advice: &str) -> Vec<String> {
    let nothing = SecurityContext::default();
    let is_one = |container: &&Container| does(container.security_context.as_ref().unwrap_or(&nothing));
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.filter(is_one).map(|container| format!("container \"{}\" {advice}", container.name)).collect()
}

fn volumes(spec: &PodSpec, is_one: impl Fn(&Volume) -> bool) -> Vec<String> {
    let all = spec.volumes.iter().flatten().filter(|volume| is_one(volume));
    all.map(|volume| format!("volume \"{}\"", volume.name)).collect()
}

/// What containers have unless they say otherwise; `restricted` takes them away by `drop`.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn said(level: Option<&str>, spec: Value) -> String {
        let pod = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        let labels = level.map(|level| json!({"pod-security.kubernetes.io/enforce": level}));
        violated(&pod, Some(&Arc::new(json!({"metadata": {"name": "a", "labels": labels}})))).unwrap_or_default()
    }

    #[test]
    fn baseline_keeps_pods_off_the_host() {
        let plain = json!({"containers": [{"name": "c"}]});
        assert_eq!(said(Some("baseline"), plain), "");
        let beyond = [
            (json!({"hostNetwork": true, "hostPID": true}), "host namespaces (hostNetwork=true, hostPID=true)"),
            (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "hostPath volumes (volume \"v\")"),
        ];
        for (mut spec, why) in beyond {
            spec["containers"] = json!([{"name": "c"}]);
            assert_eq!(
                said(Some("baseline"), spec.clone()),
                format!("violates PodSecurity \"baseline:latest\": {why}")
            );
            assert_eq!((said(Some("privileged"), spec.clone()), said(None, spec)), (String::new(), String::new()));
        }
        for context in [json!({"privileged": true}), json!({"capabilities": {"add": ["NET_ADMIN"]}})] {
            let spec = json!({"containers": [{"name": "c", "securityContext": context}]});
            assert!(said(Some("baseline"), spec).contains("(container \"c\" must not "), "{context}");
        }
        let usual = json!({"containers": [{"name": "c", "securityContext": {"capabilities": {"add": ["CHOWN"]}}}]});
        assert_eq!(said(Some("baseline"), usual), "");
    }

    #[test]
    fn restricted_wants_each_container_to_say_that_it_takes_nothing() {
        let right = || {
            json!({
                "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            })
        };
        let pod = |context: Value| {
            let init = json!([{"name": "i", "securityContext": right()}]);
            let claim = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]);
            json!({"initContainers": init, "containers": [{"name": "c", "securityContext": context}], "volumes": claim})
        };
        assert_eq!(said(Some("restricted"), pod(right())), "");
        for field in ["runAsNonRoot", "allowPrivilegeEscalation", "capabilities", "seccompProfile"] {
            let mut lacks = right();
            lacks.as_object_mut().unwrap().remove(field);
            let said = said(Some("restricted"), pod(lacks));
            assert!(said.contains(field) && said.contains("container \"c\"") && !said.contains("\"i\""), "{said}");
        }
        let mut root = right();
        root["runAsUser"] = json!(0);
        assert!(said(Some("restricted"), pod(root)).contains("runAsUser=0"));
        let mut adds = right();
        adds["capabilities"]["add"] = json!(["CHOWN"]);
        assert!(said(Some("restricted"), pod(adds)).contains("must not add any"));
        let mut of_pod = pod(json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}));
        of_pod["securityContext"] = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(said(Some("restricted"), of_pod), "", "what the pod says holds for all of it");
        let mut unusual = pod(right());
        unusual["volumes"] = json!([{"name": "v", "nfs": {"path": "/", "server": "x"}}]);
        assert!(said(Some("restricted"), unusual).ends_with("restricted volume types (volume \"v\")"));
        let all = said(Some("restricted"), json!({"containers": [{"name": "c"}]}));
        assert_eq!(all.matches("container \"c\"").count(), 4, "{all}");
    }
}
