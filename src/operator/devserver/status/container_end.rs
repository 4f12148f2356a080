//! Why a container ended. Pure.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::ResourceExt;

use super::advice::{NOT_HERS, logs};
use super::pod::{memory_limit, node};

/// For `lastEnd`.
pub(super) fn reason(end: &ContainerStateTerminated) -> &'static str {
    match (end.reason.as_deref(), end.exit_code) {
        (Some("OOMKilled"), _) => "OutOfMemory",
        (Some("ContainerStatusUnknown" | "Unknown"), _) => "NodeRestarted",
        (_, 137 | 143) => "Killed",
        _ => "CommandEnded",
    }
}

/// Why the container ended, with what to do about it. `peak` is the most memory that it was seen to use.
pub(super) fn with_advice(pod: &Pod, end: &ContainerStateTerminated, peak: Option<&str>) -> String {
    match (why(pod, end, peak), reason(end)) {
        ((why, Some(advice)), _) => format!("{why}; {advice}"),
        ((why, None), "NodeRestarted") => format!("{why}; {NOT_HERS}"),
        ((why, None), _) => format!("{why}; {}", logs(&pod.name_any())),
    }
}

/// Why a container ended, and what its owner can do. `peak` is the most memory that it was seen to use.
pub(super) fn why(pod: &Pod, end: &ContainerStateTerminated, peak: Option<&str>) -> (String, Option<&'static str>) {
    match (end.reason.as_deref(), end.exit_code) {
        (Some("OOMKilled"), _) => {
            let known = match (memory_limit(pod), peak) {
                (Some(limit), Some(peak)) => format!(" (limit {limit}; at most {peak} was seen in use)"),
                // Nobody looked before it was over, but that is what the kernel ends a container for.
                (Some(limit), None) => format!(" (all of its limit of {limit} was in use)"),
                (None, Some(peak)) => format!(" (at most {peak} was seen in use)"),
                (None, None) => String::new(),
            };
            (format!("it ran out of memory{known}"), Some("choose a larger flavor"))
        }
        // What a kubelet says of a container that it finds gone.
        (Some("Unknown" | "ContainerStatusUnknown"), _) => (format!("node {} was restarted", node(pod)), None),
        (_, 0) => ("its command ended by itself".to_owned(), Some("the DevServer's command has to keep running")),
        (_, 137) => ("it was killed (exit code 137)".to_owned(), None),
        // As shells have it, and the agent of what it is to start.
        (_, code @ 126) => (format!("its command ended with exit code {code}: a program could not be run"), None),
        (_, code @ 127) => (format!("its command ended with exit code {code}: a program was not found"), None),
        (_, code) => (format!("its command ended with exit code {code}"), None),
    }
}
