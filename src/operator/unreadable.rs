//! Tells of objects that cannot be read where administrators look: in an event of the object.

use kube::Client;
use kube::runtime::events::EventType;
use tokio::sync::mpsc::UnboundedReceiver;

use super::publish::{event, publish, recorder};
use crate::watch::Found;

/// For ever. Their statuses stay as they are: what is in them is not known, and part of it is what the next reconciling
/// goes by.
pub(super) async fn tell(client: Client, mut found: UnboundedReceiver<Found>) {
    let recorder = recorder(client);
    while let Some(Found { object, why }) = found.recv().await {
        let kind = object.kind.as_deref().unwrap_or_default();
        let note = format!("this is not a valid {kind}: {why}. It is left out until it is put right");
        publish(&recorder, &object, &event(EventType::Warning, "Unreadable", "Read", &note)).await;
    }
}
