//! Init containers: each runs to its end before the next.

use super::{process::Process, sandbox::Sandbox};
use k8s_openapi::api::core::v1::Container;
use std::time::Duration;
use tokio::time::sleep;

/// Between a failure and the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// Returns when all have succeeded.
pub(super) async fn run(sandbox: &Sandbox) {
    let spec = sandbox.pod.spec.as_ref();
    for container in spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten() {
        while let Err(why) = run_once(sandbox, container).await {
            tracing::warn!(container = container.name, why, "an init container failed; trying again");
            sleep(PAUSE).await;
        }
    }
}

async fn run_once(sandbox: &Sandbox, container: &Container) -> Result<(), String> {
    let mut process = start(sandbox, container).map_err(|error| error.to_string())?;
    match process.wait().await {
        0 => Ok(()),
        code => Err(format!("exit code {code}")),
    }
}

fn start(sandbox: &Sandbox, container: &Container) -> Result<Process, super::StartError> {
    let command: Vec<String> =
        container.command.iter().flatten().chain(container.args.iter().flatten()).cloned().collect();
    let launch = sandbox.launch(container, &command)?;
    sandbox.start(|| launch.spawn())
}
