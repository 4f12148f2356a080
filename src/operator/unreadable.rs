//! Tells of objects that cannot be read where administrators look: in an event of the object.

use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::warn;

use crate::watch::Found;

/// For ever. Their statuses stay as they are: what is in them is not known, and part of it is what the next reconciling
/// goes by.
pub(super) async fn tell(client: Client, mut found: UnboundedReceiver<Found>) {
    let reporter = Reporter { controller: "bastion-operator".to_owned(), instance: None };
    let recorder = Recorder::new(client, reporter);
    while let Some(Found { object, why }) = found.recv().await {
        let kind = object.kind.as_deref().unwrap_or_default();
        let event = Event {
            type_: EventType::Warning,
            reason: "Unreadable".to_owned(),
            note: Some(format!("this is no {kind}: {why}. It is left out until it is put right")),
            action: "Read".to_owned(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &object).await {
            warn!(kind, name = object.name, %error, "failed to publish an event");
        }
    }
}
