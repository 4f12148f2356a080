//! `devctl why`: what a DevServer waits for, or why it ended, and what to do.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::describe;
use super::home::Kept;
use super::list::phase;
use super::refused;
use crate::api::{Activity, DevServer, DevServerStatus, Phase, SuspensionReason, conditions};
use crate::devctl::output::{self, OutputArgs};
use crate::devctl::{Caller, Error, time};
use crate::event::last_time;
use crate::plain::plain;

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let Some(server) = output::shown(caller, self.name, self.output.format).await? else { return Ok(()) };
        let name = server.name_any();
        let now = caller.now();
        let mut lines = explain(&server, now);
        if matches!(phase(&server), Phase::Pending | Phase::Starting) {
            let events = describe::events(caller, &name).await?;
            let warnings = events.iter().rev().filter(|event| event.type_.as_deref() == Some("Warning"));
            if let Some(event) = warnings.take(1).next() {
                let message = event.message.as_deref().unwrap_or_default();
                let ago = last_time(event).map(|at| time::span((now.as_second() - at.as_second()).unsigned_abs()));
                lines.push(format!("Kubernetes said {} ago: {}", ago.unwrap_or_default(), plain(message)));
            }
        }
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        caller.print(&caller.advice(&text)).await;
        Ok(())
    }
}

fn explain(server: &DevServer, now: Timestamp) -> Vec<String> {
    let name = server.name_any();
    let status = server.status.clone().unwrap_or_default();
    let message = plain(&status.message.clone().unwrap_or_default());
    let ready = conditions::find(&status.conditions, conditions::READY);
    let since = ready.map(|condition| time::age(Some(&condition.last_transition_time), now));
    let since = since.map(|since| format!(" for {since}")).unwrap_or_default();
    let home = Kept::of(server);
    let mut lines = Vec::new();
    match phase(server) {
        Phase::Running => {
            lines.push(format!("`{name}` runs{since}; `devctl ssh {name}` enters it."));
            if let Some(said) = refused::said(&status) {
                let head =
                    if refused::is_invalid(&status) { "That is not what its settings ask for: " } else { "Note: " };
                lines.push(format!("{head}{}.", plain(said.trim_end_matches('.'))));
            }
            lines.extend(last_end(&status, now));
            lines.extend(status.activity.as_ref().and_then(|activity| memory_line(&name, activity, now)));
        }
        Phase::Pending => {
            lines.push(format!(
                "`{name}` {}: {}.",
                lasting("waiting", &since),
                or(&message, "the operator has not looked at it yet")
            ));
            lines.extend(last_end(&status, now));
        }
        Phase::Starting => {
            lines.push(format!("`{name}` {}: {}.", lasting("starting", &since), or(&message, "its container is made")));
            lines.extend(last_end(&status, now));
        }
        Phase::Failed => {
            lines.push(format!("`{name}` cannot run: {}.", or(&message, "the operator does not say why")));
            lines.push(format!("`devctl describe {name}` shows how it is."));
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
            lines.push(format!("`{name}` is suspended{}{why}. {}", at.unwrap_or_default(), after(&home)));
            lines.push(format!("A login resumes it, as does `devctl resume {name}`."));
        }
        Phase::Terminating => lines.push(format!(
            "`{name}` is being deleted{}.",
            match home {
                // Whether the home is to go as well is not known here.
                Kept::Own(_) | Kept::Existing(_) => "",
                Kept::Nowhere => " with its home, which is ephemeral",
            }
        )),
    }
    lines.extend(script_line(&name, &status));
    lines
}

/// What it does, and for how long now, where that is known.
fn lasting(doing: &str, since: &str) -> String {
    if since.is_empty() { format!("is {doing}") } else { format!("has been {doing}{since}") }
}

fn after(home: &Kept) -> &'static str {
    match home {
        Kept::Own(_) | Kept::Existing(_) => "Its home is kept.",
        Kept::Nowhere => "Its home was ephemeral, and is empty when it resumes.",
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text.trim_end_matches('.') }
}

/// That its startup script failed, which keeps nobody out.
fn script_line(name: &str, status: &DevServerStatus) -> Option<String> {
    let script = conditions::find(&status.conditions, conditions::STARTUP_SCRIPT)?;
    let has_failed = script.status == "False" && script.reason == conditions::reason::FAILED;
    let failed = has_failed && status.phase == Phase::Running;
    let message = plain(script.message.trim_end_matches('.'));
    failed.then(|| format!("{message}. `devctl update {name} --startup-script FILE` gives it another script."))
}

/// How it last ended, where the status does not say that anyhow.
fn last_end(status: &DevServerStatus, now: Timestamp) -> Option<String> {
    let end = status.untold_end()?;
    let why = plain(end.message.trim_end_matches('.'));
    Some(format!("It last ended {}: {why}.", time::relative(&end.time, now)))
}

/// That the kernel ended a program of it, and it went on.
fn memory_line(name: &str, activity: &Activity, now: Timestamp) -> Option<String> {
    let ago = time::relative(activity.last_out_of_memory_time.as_ref()?, now);
    let peak = activity.peak_memory.as_ref().map(|peak| format!(" ({} in use at most)", plain(&peak.0)));
    let peak = peak.unwrap_or_default();
    let advice = format!("`devctl update {name} --flavor NAME` gives it more");
    Some(format!("One of its programs was killed {ago}: memory ran out{peak}; {advice}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn not_ready(phase: &str, reason: &str, message: &str) -> serde_json::Value {
        let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:55:00Z"});
        json!({"phase": phase, "message": message, "conditions": [ready]})
    }

    fn why(status: serde_json::Value) -> String {
        let server: DevServer = serde_json::from_value(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": {"name": "train"}, "spec": {}, "status": status,
        }))
        .unwrap();
        explain(&server, "2026-01-01T01:00:00Z".parse().unwrap()).join("\n")
    }

    #[test]
    fn what_it_waits_for_is_told_with_what_the_operator_says_to_do() {
        let advised = "the quota dev-user is used up; suspend another";
        let text = why(not_ready("Pending", "QuotaExceeded", advised));
        assert_eq!(text, format!("`train` has been waiting for 5m: {advised}."));
        let text = why(not_ready("Failed", "FlavorNotFound", "there is no flavor x; take another."));
        assert!(text.starts_with("`train` cannot run: there is no flavor x; take another.\n"), "{text}");
        let text = why(
            json!({"phase": "Suspended", "suspension": {"time": "2026-01-01T00:00:00Z", "reason": "Idle", "message": "x"}}),
        );
        assert!(text.contains("nobody used it") && text.contains("devctl resume train"), "{text}");
    }

    #[test]
    fn one_that_runs_but_not_as_asked_says_so() {
        let ready = json!({"type": "Ready", "status": "True", "reason": "FlavorNotFound", "message": "", "lastTransitionTime": "2026-01-01T00:55:00Z"});
        let message = "there is no flavor x; the pod train runs as before";
        let text = why(json!({"phase": "Running", "message": message, "conditions": [ready]}));
        assert!(text.contains("not what its settings ask for: there is no flavor x"), "{text}");
    }

    #[test]
    fn a_startup_script_that_failed_is_told() {
        let script = json!({
            "type": "StartupScript", "status": "False", "reason": "Failed", "message": "the startup script failed (exit code 1)",
            "lastTransitionTime": "2026-01-01T00:55:00Z",
        });
        let text = why(json!({"phase": "Running", "conditions": [script]}));
        assert!(text.contains("failed (exit code 1). `devctl update train --startup-script FILE`"), "{text}");
    }

    #[test]
    fn a_program_that_memory_ran_out_for_is_told_of() {
        let activity = json!({"lastOutOfMemoryTime": "2026-01-01T00:58:00Z", "peakMemory": "4Gi"});
        let text = why(json!({"phase": "Running", "activity": activity}));
        let told = "One of its programs was killed 2m ago: memory ran out (4Gi in use at most); `devctl update train \
                    --flavor NAME` gives it more.";
        assert!(text.ends_with(told), "{text}");
    }

    #[test]
    fn how_it_last_ended_is_told_once_whether_it_runs_again_or_not() {
        let end = json!({"time": "2026-01-01T00:59:00Z", "reason": "OutOfMemory", "message": "it ran out of memory."});
        for phase in ["Running", "Pending", "Starting"] {
            let text = why(json!({"phase": phase, "lastEnd": end}));
            assert!(text.ends_with("\nIt last ended 60s ago: it ran out of memory."), "{text}");
            let text = why(json!({"phase": phase, "lastEnd": end, "message": "again: it ran out of memory."}));
            assert_eq!(text.matches("ran out").count(), 1, "{text}");
        }
    }
}
