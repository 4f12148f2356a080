//! What a pod's object tells, read off it. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

use crate::api::names;

/// Whether sessions can enter.
pub(super) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && condition(pod, "Ready").is_none_or(|ready| ready.status == "True")
        && container_status(pod).is_some_and(|status| status.ready)
}

pub(super) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// The kubelet last said that all is well, and the control plane has not heard from it since.
pub(super) fn node_is_silent(pod: &Pod) -> bool {
    let lost = pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("NodeLost");
    let not_ready = condition(pod, "Ready").is_some_and(|ready| ready.status != "True");
    lost || (not_ready && container_status(pod).is_some_and(|status| status.ready))
}

/// The container waits for its startup probe, which only one with a script has.
pub(super) fn startup_script_runs(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.iter().any(|container| container.name == names::CONTAINER && container.startup_probe.is_some())
        && container_status(pod).is_some_and(|status| status.started != Some(true))
}

pub(super) fn container_status(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == names::CONTAINER)
}

pub(super) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("?")
}

pub(super) fn image_name(pod: &Pod) -> &str {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let container = containers.iter().find(|container| container.name == names::CONTAINER);
    container.and_then(|container| container.image.as_deref()).unwrap_or("?")
}

pub(super) fn memory_limit(pod: &Pod) -> Option<&str> {
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == names::CONTAINER)?;
    Some(&container.resources.as_ref()?.limits.as_ref()?.get("memory")?.0)
}
