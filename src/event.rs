//! Events of the cluster, which its components write each in its own way.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;

/// When it last happened.
pub fn last_time(event: &Event) -> Option<Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let series = event.series.as_ref().and_then(|series| Some(series.last_observed_time.as_ref()?.0));
    let once = event.event_time.as_ref().map(|time| time.0);
    last.or(series).or(once).or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_happens_again_is_as_old_as_the_last_time() {
        let time = |event: Value| last_time(&serde_json::from_value(event).unwrap()).unwrap().as_second();
        let made = json!({ "creationTimestamp": "1970-01-01T00:00:01Z" });
        let (once, again) = ("1970-01-01T00:00:02.000000Z", "1970-01-01T00:00:03.000000Z");
        let involved = json!({});
        assert_eq!(time(json!({ "metadata": made, "involvedObject": involved })), 1);
        assert_eq!(time(json!({ "metadata": made, "involvedObject": involved, "eventTime": once })), 2);
        let series = json!({ "count": 2, "lastObservedTime": again });
        let repeated = json!({ "metadata": made, "involvedObject": involved, "eventTime": once, "series": series });
        assert_eq!(time(repeated), 3);
        let old = json!({ "metadata": made, "involvedObject": involved, "lastTimestamp": "1970-01-01T00:00:04Z" });
        assert_eq!(time(old), 4);
    }
}
