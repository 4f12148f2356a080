//! Startup probes that run a program: until one succeeds, the container is not ready. Other probes are not run.

use super::{
    sandbox::{Sandbox, StartError},
    statuses::Statuses,
};
use crate::minik8s::{apiserver::put, object};
use k8s_openapi::api::core::v1::{Container, Probe};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, time::sleep};
use tokio_util::task::AbortOnDropHandle;

/// Looks until the container of `index` has started, and says so in its status; none if it has no such probe.
pub(super) fn start(sandbox: &Arc<Sandbox>, statuses: &Arc<Statuses>, index: usize) -> Option<AbortOnDropHandle<()>> {
    let container = sandbox.pod.spec.as_ref()?.containers.get(index)?.clone();
    let probe = container.startup_probe.clone()?;
    let command = probe.exec.as_ref()?.command.clone()?;
    let (sandbox, statuses) = (sandbox.clone(), statuses.clone());
    let pause = Duration::from_secs(seconds(&probe));
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            match look(&sandbox, &container, &command).await {
                Ok((0, _)) => break,
                Ok((_, said)) => tell(&sandbox, &container, &said),
                Err(error) => tell(&sandbox, &container, &error.to_string()),
            }
            sleep(pause).await;
        }
        statuses.edit(index, |status| {
            status["ready"] = json!(true);
            status["started"] = json!(true);
        });
    })))
}

fn seconds(probe: &Probe) -> u64 {
    probe.period_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(10)
}

async fn look(sandbox: &Sandbox, container: &Container, command: &[String]) -> Result<(i32, String), StartError> {
    let launch = sandbox.launch(container, command)?;
    let mut process = sandbox.start(|| launch.spawn())?;
    let mut said = Vec::new();
    if let Some(mut stdout) = process.child().stdout.take() {
        stdout.read_to_end(&mut said).await?;
    }
    Ok((process.wait().await, String::from_utf8_lossy(&said).into_owned()))
}

/// The kubelet's own words.
fn tell(sandbox: &Sandbox, container: &Container, said: &str) {
    let pod = &sandbox.pod.metadata;
    let namespace = pod.namespace.as_deref().unwrap_or_default();
    let name = pod.name.as_deref().unwrap_or_default();
    let event = json!({
        "metadata": { "name": format!("{name}.{}", object::random_hex(8)), "namespace": namespace },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": pod.uid,
            "fieldPath": format!("spec.containers{{{}}}", container.name),
        },
        "type": "Warning",
        "reason": "Unhealthy",
        "message": format!("Startup probe failed: {said}"),
        "firstTimestamp": object::now(),
        "lastTimestamp": object::now(),
        "count": 1,
        "source": { "component": "kubelet" },
    });
    if let Err(refusal) = put(&sandbox.store, "events", event, false) {
        tracing::debug!(pod = name, refusal = refusal.message, "an event is lost");
    }
}
