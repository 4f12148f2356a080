//! What a session leaves behind in its pod is ended.

use std::time::Duration;

use futures::StreamExt;
use tracing::{debug, warn};

use super::super::exec::{self, Frame};
use super::super::{Error, Workspace, script};
use super::{closed, request};
use crate::telemetry::chain;

/// An exec'd program survives its connection: hangs up the process group that `pid` leads.
pub(super) async fn hang_up(client: &kube::Client, mut workspace: Workspace, pid: &str, born: &str) {
    const PATIENCE: [u64; 5] = [0, 1, 5, 15, 60];
    let command = script::hangup(pid, born);
    for wait in PATIENCE {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let mut ended = end(client, &workspace, &command).await;
        // What a guest ran whom the pod is no longer shared with: her own right to enter it went with the share.
        if let (Err(Error::Refused { code: 403, .. }), Some(by_owner)) = (&ended, workspace.by_owner()) {
            workspace = by_owner;
            ended = end(client, &workspace, &command).await;
        }
        match ended {
            Ok(()) => return,
            // Its pod, its namespace or its account is gone, and it went with them.
            Err(error) if error.pod_is_gone() || !error.is_outage() => {
                return debug!(error = chain(&error), pid, "nothing to hang up");
            }
            Err(error) => debug!(error = chain(&error), pid, "failed to hang up; trying again"),
        }
    }
    warn!(pod = workspace.pod, namespace = workspace.namespace, pid, "left a process in the pod: could not hang it up");
}

async fn end(client: &kube::Client, workspace: &Workspace, command: &[&str]) -> Result<(), Error> {
    let mut stream = exec::open(client, &request(workspace, command, false, false)).await?;
    while let Some(message) = stream.next().await {
        let message = message.map_err(|error| Error::Lost(Box::new(error)))?;
        if let Frame::Status(status) = Frame::parse(message)? {
            return exec::exit_code(&status).map(drop);
        }
    }
    Err(closed())
}
