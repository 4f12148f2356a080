//! Events about a DevServer's sleep: announced, begun, ended.

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::warn;

use super::lifecycle;
use crate::api::{DevServer, DevServerStatus, Phase};

/// A cluster that takes no events is no reason to stop.
pub(super) async fn publish(recorder: &Recorder, server: &DevServer, event: Event) {
    if let Err(error) = recorder.publish(&event, &server.object_ref(&())).await {
        warn!(namespace = server.metadata.namespace, devserver = server.metadata.name, %error, "failed to publish an event");
    }
}

/// The event that the change from `old` to `new` is worth.
pub(super) fn news(old: Option<&DevServerStatus>, new: &DevServerStatus) -> Option<Event> {
    let slept = old.is_some_and(|old| old.phase == Phase::Suspended);
    let sleeps = new.phase == Phase::Suspended;
    let known = old.and_then(|old| old.suspension.as_ref()).filter(|_| !slept);
    let (type_, reason, action, note) = match (&new.suspension, slept, sleeps) {
        (Some(suspension), false, true) => (EventType::Normal, "Suspended", "Suspend", lifecycle::sleeps(suspension)),
        (_, true, false) if new.phase != Phase::Terminating => {
            (EventType::Normal, "Woken", "Wake", "it is awake again".to_owned())
        }
        (Some(planned), false, false) if known.is_none_or(|known| known.reason != planned.reason) => {
            let note = format!("it will be suspended at {}: {}", planned.time.0, planned.message);
            (EventType::Warning, "SuspensionPlanned", "Warn", note)
        }
        _ => return None,
    };
    Some(Event { type_, reason: reason.to_owned(), note: Some(note), action: action.to_owned(), secondary: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Suspension, SuspensionReason};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    fn status(phase: Phase, reason: Option<SuspensionReason>) -> DevServerStatus {
        let suspension = reason.map(|reason| Suspension {
            time: Time(Timestamp::UNIX_EPOCH),
            reason,
            message: "because".to_owned(),
        });
        DevServerStatus { phase, suspension, ..DevServerStatus::default() }
    }

    #[test]
    fn each_turn_of_a_sleep_is_told_once() {
        use Phase::{Running, Starting, Suspended, Terminating};
        use SuspensionReason::{Expired, Idle, Requested};
        let told = |old: DevServerStatus, new: DevServerStatus| news(Some(&old), &new).map(|event| event.reason);
        let is = |reason: &str| Some(reason.to_owned());
        assert_eq!(told(status(Running, None), status(Running, None)), None);
        assert_eq!(told(status(Running, None), status(Running, Some(Idle))), is("SuspensionPlanned"));
        assert_eq!(told(status(Running, Some(Idle)), status(Running, Some(Idle))), None);
        assert_eq!(told(status(Running, Some(Idle)), status(Running, Some(Expired))), is("SuspensionPlanned"));
        assert_eq!(told(status(Running, Some(Idle)), status(Running, None)), None);
        assert_eq!(told(status(Running, Some(Idle)), status(Suspended, Some(Idle))), is("Suspended"));
        assert_eq!(told(status(Starting, None), status(Suspended, Some(Requested))), is("Suspended"));
        assert_eq!(told(status(Suspended, Some(Idle)), status(Suspended, Some(Idle))), None);
        assert_eq!(told(status(Suspended, Some(Idle)), status(Starting, None)), is("Woken"));
        assert_eq!(told(status(Suspended, Some(Idle)), status(Terminating, None)), None);
        assert_eq!(news(None, &status(Suspended, Some(Requested))).map(|event| event.reason), is("Suspended"));
    }
}
