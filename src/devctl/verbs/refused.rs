//! A spec that the API took and the operator did not: what runs is as it was before.

use crate::api::{DevServerStatus, Phase, conditions};
use crate::plain::plain;

/// Why what runs is not what its spec says; none if it is. `before` is what was told before the spec changed.
pub(super) fn refused(now: &DevServerStatus, before: Option<&DevServerStatus>) -> Option<String> {
    let message = said(now)?;
    let is_new = before.and_then(|before| before.message.as_deref()) != Some(message);
    (is_invalid(now) || is_new).then(|| plain(message))
}

/// What the operator says of one that runs, other than that its startup script failed.
pub(super) fn said(status: &DevServerStatus) -> Option<&str> {
    let message = status.message.as_deref().filter(|message| !message.is_empty() && status.phase == Phase::Running)?;
    let script = conditions::find(&status.conditions, conditions::STARTUP_SCRIPT);
    Some(message).filter(|message| script.is_none_or(|script| script.message != **message))
}

/// Whether there can be no pod of its spec.
pub(super) fn is_invalid(status: &DevServerStatus) -> bool {
    let ready = conditions::find(&status.conditions, conditions::READY);
    status.phase == Phase::Running && ready.is_some_and(|ready| ready.reason != conditions::reason::RUNNING)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(phase: &str, reason: &str, message: &str) -> DevServerStatus {
        let condition = |type_: &str, reason: &str, message: &str| json!({"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let conditions = [condition("Ready", reason, message), condition("StartupScript", "Failed", "exit code 1")];
        serde_json::from_value(json!({"phase": phase, "message": message, "conditions": conditions})).unwrap()
    }

    #[test]
    fn one_that_runs_as_before_did_not_take_its_spec() {
        let invalid = status("Running", "FlavorNotFound", "there is no flavor x; it runs as before");
        let why = Some("there is no flavor x; it runs as before".to_owned());
        assert_eq!(refused(&invalid, None), why);
        // Something else was changed meanwhile, and cannot be taken either.
        assert_eq!(refused(&invalid, Some(&invalid)), why);
        assert_eq!(refused(&status("Failed", "FlavorNotFound", "there is no flavor x"), None), None);
        assert_eq!(refused(&status("Running", "Running", ""), None), None);
    }

    #[test]
    fn a_size_that_is_not_granted_is_told_once() {
        let kept = status("Running", "Running", "the home keeps its 5Gi");
        assert!(refused(&kept, Some(&status("Running", "Running", ""))).is_some());
        assert_eq!(refused(&kept, Some(&kept)), None);
        assert_eq!(refused(&status("Running", "Running", "exit code 1"), None), None, "its startup script says that");
    }
}
