//! Events: what happened to an object, told where `kubectl describe` and `devctl describe` look.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::warn;

use crate::telemetry::chain;

pub(super) fn recorder(client: Client) -> Recorder {
    Recorder::new(client, Reporter { controller: "bastion-operator".to_owned(), instance: None })
}

pub(super) fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    let note = Some(note[..note.floor_char_boundary(MAX_NOTE)].to_owned());
    Event { type_, reason: reason.to_owned(), note, action: action.to_owned(), secondary: None }
}

/// A cluster that takes no events is no reason to stop.
pub(super) async fn publish(recorder: &Recorder, about: &ObjectReference, event: &Event) {
    if let Err(error) = recorder.publish(event, about).await {
        let (kind, namespace, name) = (&about.kind, &about.namespace, &about.name);
        warn!(kind, namespace, name, error = chain(&error), "failed to publish an event");
    }
}

/// The condition of this type, where it came to be false, or is so for another reason or another spec than before.
pub(super) fn newly_false<'a>(type_: &str, before: &[Condition], now: &'a [Condition]) -> Option<&'a Condition> {
    let new = now.iter().find(|condition| condition.type_ == type_ && condition.status == "False")?;
    let is_same = |old: &Condition| {
        old.type_ == type_
            && old.status == new.status
            && old.reason == new.reason
            && old.observed_generation == new.observed_generation
    };
    (!before.iter().any(is_same)).then_some(new)
}

/// In bytes; the API server takes no longer one.
const MAX_NOTE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::conditions::{ROLES_BOUND, condition};
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn a_condition_that_stays_false_is_told_once_for_each_spec() {
        let now = || Time(Timestamp::UNIX_EPOCH);
        let told = |holds, reason: &str, generation| {
            vec![condition(ROLES_BOUND, holds, reason, "why", Some(generation), now())]
        };
        let cases = [
            (vec![], told(false, "Refused", 1), true),
            (told(true, "Bound", 1), told(false, "Refused", 1), true),
            (told(false, "Refused", 1), told(false, "Refused", 1), false),
            (told(false, "Refused", 1), told(false, "Refused", 2), true),
            (told(false, "Refused", 1), told(false, "Missing", 1), true),
            (told(false, "Refused", 1), told(true, "Bound", 1), false),
            (told(false, "Refused", 1), vec![], false),
        ];
        for (before, after, is_news) in cases {
            assert_eq!(newly_false(ROLES_BOUND, &before, &after).is_some(), is_news, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = event(EventType::Normal, "R", "A", &"é".repeat(600)).note.unwrap();
        assert_eq!((note.len(), note.chars().count()), (1024, 512));
        assert_eq!(event(EventType::Normal, "R", "A", &format!("x{}", "é".repeat(600))).note.unwrap().len(), 1023);
    }
}
