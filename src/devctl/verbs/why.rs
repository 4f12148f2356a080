//! `devctl why`: what a DevServer waits for, or why it ended, and what to do.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::describe;
use super::list::phase;
use crate::api::{DevServer, Phase, SuspensionReason, conditions, names};
use crate::devctl::{Caller, Error, plain, time};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.name(self.name)?;
        let server = caller.devserver(&name).await?;
        let pod = caller.api::<Pod>().get_opt(&name).await.map_err(Error::of_api)?;
        let now = caller.now();
        let mut lines = explain(&server, pod.as_ref(), now);
        if matches!(phase(&server), Phase::Pending | Phase::Starting) {
            let events = describe::events(caller, &name).await?;
            let warnings = events.iter().rev().filter(|event| event.type_.as_deref() == Some("Warning"));
            if let Some(event) = warnings.take(1).next() {
                let message = event.message.as_deref().unwrap_or_default();
                let ago = describe::seen(event).map(|at| time::span((now.as_second() - at.as_second()).unsigned_abs()));
                lines.push(format!("Kubernetes said {} ago: {}", ago.unwrap_or_default(), plain(message)));
            }
        }
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        caller.print(&text).await;
        Ok(())
    }
}

fn explain(server: &DevServer, pod: Option<&Pod>, now: Timestamp) -> Vec<String> {
    let name = server.name_any();
    let status = server.status.clone().unwrap_or_default();
    let message = plain(&status.message.clone().unwrap_or_default());
    let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY);
    let reason = ready.map(|condition| condition.reason.as_str()).unwrap_or_default();
    let since = ready.map(|condition| time::age(Some(&condition.last_transition_time), now));
    let since = since.map(|since| format!(" for {since}")).unwrap_or_default();
    let mut lines = Vec::new();
    match phase(server) {
        Phase::Running => {
            lines.push(format!("`{name}` runs{since}; `devctl ssh {name}` enters it."));
            if let Some(end) = pod.and_then(last_end) {
                lines.push(end_line(&end, now));
                lines.push(format!("`devctl logs {name} --previous` shows what it wrote before that."));
            }
        }
        Phase::Pending => {
            lines.push(format!("`{name}` waits{since}: {}.", or(&message, "the operator has not looked at it yet")));
            lines.extend(advice(&name, reason, &message));
        }
        Phase::Starting => {
            lines.push(format!("`{name}` starts{since}: {}.", or(&message, "its container is made")));
            if let Some(end) = pod.and_then(last_end) {
                lines.push(end_line(&end, now));
            }
            lines.extend(advice(&name, reason, &message));
        }
        Phase::Failed => {
            lines.push(format!("`{name}` cannot run: {}.", or(&message, "the operator does not say why")));
            lines.extend(advice(&name, reason, &message).or_else(|| {
                Some(format!("Change it with `devctl update {name}`; `devctl describe {name}` shows how it is."))
            }));
        }
        Phase::Suspended => {
            let why = status.suspension.as_ref().map(|suspension| match suspension.reason {
                SuspensionReason::Requested => "somebody asked for it",
                SuspensionReason::Idle => "nobody used it",
                SuspensionReason::Expired => "its time was over",
            });
            let at =
                status.suspension.as_ref().map(|suspension| format!(" since {}", time::point(&suspension.time, now)));
            let why = why.map(|why| format!(", because {why}")).unwrap_or_default();
            lines.push(format!("`{name}` sleeps{}{why}. Its home is kept.", at.unwrap_or_default()));
            lines.push(format!("A login wakes it, as does `devctl resume {name}`."));
        }
        Phase::Terminating => lines.push(format!("`{name}` is being deleted. Its home is kept.")),
    }
    lines
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text.trim_end_matches('.') }
}

/// What its owner can do, by the reason of the condition Ready.
fn advice(name: &str, reason: &str, message: &str) -> Option<String> {
    let text = match reason {
        "QuotaExceeded" => "`devctl top` shows your quota; delete or suspend another DevServer.".to_owned(),
        "FlavorNotFound" => {
            format!("`devctl flavors` lists those there are; `devctl update {name} --flavor NAME` takes another.")
        }
        "Unschedulable" => format!(
            "It starts as soon as there is room. `devctl update {name} --flavor NAME` takes a smaller size (`devctl flavors`)."
        ),
        "ClaimNotFound" => format!("`devctl update {name} --remove-volume PATH` takes the volume away."),
        "CannotReadEnv" => {
            format!("It starts as soon as the Secret is there; `devctl update {name} --unset-env NAME` does without.")
        }
        "CommandNotFound" => format!("`devctl update {name} --command WORD…` takes another first process."),
        "CannotPullImage" => {
            format!("`devctl update {name} --image IMAGE` takes another image; check its name and tag.")
        }
        _ if message.contains("memory") => {
            format!(
                "It needs more memory than its flavor has: `devctl update {name} --flavor NAME` (`devctl flavors`)."
            )
        }
        "ContainerEnded" | "Restarting" | "CannotStart" => {
            format!("`devctl logs {name} --previous` shows what its first process wrote.")
        }
        _ => return None,
    };
    Some(text)
}

/// How the container before this one ended.
fn last_end(pod: &Pod) -> Option<ContainerStateTerminated> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == names::CONTAINER)?;
    let state = status.state.as_ref().and_then(|state| state.terminated.clone());
    state.or_else(|| status.last_state.as_ref()?.terminated.clone())
}

fn end_line(end: &ContainerStateTerminated, now: Timestamp) -> String {
    let ago = end.finished_at.as_ref().map(|at| format!(", {}", time::relative(at, now))).unwrap_or_default();
    let how = match (end.reason.as_deref(), end.exit_code) {
        (Some("OOMKilled"), _) => "it used more memory than its flavor has".to_owned(),
        (_, 0) => "its first process ended by itself".to_owned(),
        (_, code @ 129..=192) => format!("its first process was ended by signal {}", code - 128),
        (_, code) => format!("its first process failed with status {code}"),
    };
    format!("It was restarted{ago}: {how}.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn not_ready(phase: &str, reason: &str, message: &str) -> serde_json::Value {
        let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:55:00Z"});
        json!({"phase": phase, "message": message, "conditions": [ready]})
    }

    fn why(status: serde_json::Value, pod: Option<serde_json::Value>) -> String {
        let server: DevServer = serde_json::from_value(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": {"name": "train"}, "spec": {}, "status": status,
        }))
        .unwrap();
        let pod =
            pod.map(|status| serde_json::from_value(json!({"metadata": {"name": "train"}, "status": status})).unwrap());
        explain(&server, pod.as_ref(), "2026-01-01T01:00:00Z".parse().unwrap()).join("\n")
    }

    #[test]
    fn what_it_waits_for_comes_with_what_to_do() {
        let text = why(not_ready("Pending", "Unschedulable", "no node fits: 3 Insufficient nvidia.com/gpu"), None);
        assert!(text.contains("waits for 5m: no node fits") && text.contains("devctl update train --flavor"), "{text}");
        let text = why(not_ready("Failed", "FlavorNotFound", "there is no flavor x"), None);
        assert!(text.contains("cannot run") && text.contains("devctl flavors"), "{text}");
        let text = why(
            json!({"phase": "Suspended", "suspension": {"time": "2026-01-01T00:00:00Z", "reason": "Idle", "message": "x"}}),
            None,
        );
        assert!(text.contains("nobody used it") && text.contains("devctl resume train"), "{text}");
    }

    #[test]
    fn one_that_ran_out_of_memory_says_so() {
        let terminated = json!({"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:59:00Z"});
        let pod = json!({"containerStatuses": [{"name": "devserver", "ready": true, "restartCount": 1, "image": "", "imageID": "",
            "lastState": {"terminated": terminated}}]});
        let text = why(json!({"phase": "Running"}), Some(pod));
        assert!(text.contains("restarted, 60s ago: it used more memory"), "{text}");
    }
}
