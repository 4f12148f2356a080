//! `devctl extend`.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::list::phase;
use crate::api::{DevServer, DevServerStatus, Phase, TimeSpan};
use crate::devctl::output::{self, OutputArgs};
use crate::devctl::{Caller, Error, revise, time, wait};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
    /// How much longer
    #[arg(long, short, value_name = "TIME", default_value = "4h", value_parser = time::parser())]
    time: TimeSpan,
    #[command(flatten)]
    output: OutputArgs,
}

/// The operator needs a moment to say how much of it is granted.
const OPERATOR: Duration = Duration::from_secs(5);

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.name(self.name)?;
        let server = caller.devserver(&name).await?;
        if phase(&server) == Phase::Suspended {
            return Err(Error::failed(format!(
                "`{name}` is suspended; `devctl resume {name}` resumes it, with all of its time"
            )));
        }
        let status = server.status.clone().unwrap_or_default();
        let until = extended(&status, &self.time, caller.now())?;
        // Of two at once one would be lost.
        let server = revise(&caller.api(), server, json!({"lifecycle": {"extendedUntil": until}})).await?;
        let generation = server.metadata.generation.unwrap_or_default();
        let observed = wait::until_observed(caller, &name, generation, OPERATOR).await;
        let server = observed.unwrap_or(server);
        let expiration = server.status.as_ref().and_then(|status| status.expiration_time.as_ref());
        // Of an operator that says nothing yet, the time before would be told.
        let is_known = server.status.as_ref().is_some_and(|status| status.observed_generation >= Some(generation));
        let expiration = expiration.filter(|_| is_known);
        let now = caller.now();
        let text = match expiration {
            Some(end) if end.0.as_second() < until.0.as_second() => most(&name, end, now),
            Some(end) => format!(
                "`{name}` may run until {}, if it is used: an idle one is suspended before (`devctl snooze {name}`).",
                time::point(end, now)
            ),
            None if is_known => format!("`{name}` has no end, so there is nothing to put off."),
            None => format!(
                "`{name}` was extended to {}; the operator has not confirmed it yet: `devctl list` shows it.",
                time::point(&until, now)
            ),
        };
        output::changed_or(caller, self.output.format, &server, &text).await
    }
}

/// That it may run for less time than its spec asks for, and until when.
pub(super) fn cut_short(server: &DevServer, now: Timestamp) -> Option<String> {
    let status = server.status.as_ref()?;
    let asked = later(status.start_time.as_ref()?.0, server.spec.lifecycle.as_ref()?.time_to_live.as_ref()?).ok()?;
    let end = status.expiration_time.as_ref()?;
    (end.0.as_second() < asked.0.as_second()).then(|| most(&server.name_any(), end, now))
}

fn most(name: &str, end: &Time, now: Timestamp) -> String {
    format!(
        "`{name}` may run until {}. That is the most it is allowed; save what you need elsewhere before then.",
        time::point(end, now)
    )
}

/// `span` more than it has now.
fn extended(status: &DevServerStatus, span: &TimeSpan, now: Timestamp) -> Result<Time, Error> {
    let from = status.expiration_time.as_ref().map_or(now, |end| end.0.max(now));
    later(from, span)
}

/// `span` after `from`, in whole seconds, as the API has times.
pub(super) fn later(from: Timestamp, span: &TimeSpan) -> Result<Time, Error> {
    let seconds = span.get().and_then(|span| i64::try_from(span.as_secs()).ok());
    let end = seconds.and_then(|seconds| from.as_second().checked_add(seconds));
    let end = end.and_then(|second| Timestamp::from_second(second).ok());
    end.map(Time).ok_or_else(|| Error::usage("that is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_added_to_what_is_left() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let span = TimeSpan("1h".to_owned());
        let ends = |second| {
            let end = Time(Timestamp::from_second(second).unwrap());
            let status = DevServerStatus { expiration_time: Some(end), ..DevServerStatus::default() };
            extended(&status, &span, now).unwrap().0.as_second()
        };
        assert_eq!(ends(1_000_600), 1_004_200);
        assert_eq!(ends(999_000), 1_003_600);
        assert_eq!(extended(&DevServerStatus::default(), &span, now).unwrap().0.as_second(), 1_003_600);
        assert!(later(now, &TimeSpan("99999999999999d".to_owned())).is_err());
    }

    #[test]
    fn less_than_was_asked_for_is_told() {
        let told = |asked: Option<&str>, end: Option<&str>| {
            let server: DevServer = serde_json::from_value(json!({
                "apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": {"name": "x"},
                "spec": {"lifecycle": {"timeToLive": asked}},
                "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "expirationTime": end},
            }))
            .unwrap();
            cut_short(&server, "2026-01-01T01:00:00Z".parse().unwrap())
        };
        let end = Some("2026-01-01T05:00:00Z");
        assert!(told(Some("9h"), end).unwrap().contains("until 2026-01-01 05:00 UTC (in 4h). That is the most"));
        for (asked, end) in [(Some("5h"), end), (Some("4h"), end), (None, end), (Some("9h"), None)] {
            assert_eq!(told(asked, end), None, "{asked:?}");
        }
    }
}
