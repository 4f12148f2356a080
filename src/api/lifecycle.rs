//! When a DevServer sleeps: its pod is away then, its objects stay, and so does a home that is not ephemeral.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// When the DevServer runs and when it is suspended, which gives back its pod and keeps its home, if that is not
/// ephemeral.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Whether it is suspended: no pod, and the home is kept if it is not ephemeral. The operator sets it when the time
    /// is over or nobody uses it; a login, or `devctl resume`, resumes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// For how long it runs after it was made or resumed, such as `4h`, `90m` or `7d`; then it is suspended. Default
    /// and most: the operator's `operator.lifecycle.time_to_live` and `max_time_to_live`; a flavor's `timeLimit` and a
    /// user's limits may allow less. `0s` counts as not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<TimeSpan>,
    /// Its time is not over before then, whatever `timeToLive` says, but no later than the longest that is allowed. It
    /// may still be suspended for being idle (`snoozedUntil`). `devctl extend` sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = READABLE_TIME))]
    pub extended_until: Option<Time>,
    /// What happens when nobody uses it. Default: `operator.lifecycle.idle_after` and `idle_action`;
    /// `status.idle` tells what holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
    /// It is not suspended for being idle before then. `devctl snooze` sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = READABLE_TIME))]
    pub snoozed_until: Option<Time>,
}

/// What can be read as a point in time: the format `date-time` also has the last days of year 9999, and offsets such as
/// `+99:99`. A DevServer that cannot be read is one that no operator suspends. A rule in CEL would see what Go makes of
/// the string, and Go reads more than is read here.
const READABLE_TIME: &str = concat!(
    r"^([0-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-[0-9]{2}-[0-9]{2}",
    r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?",
    r"([Zz]|[-+]([01][0-9]|2[0-3]):[0-5][0-9])$",
);

/// What happens to a DevServer that nobody uses.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// After how long without any sign of use, such as `1h`. Default: `operator.lifecycle.idle_after`. `0s` counts
    /// as not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TimeSpan>,
    /// What then happens. Default: `Suspend`, also where `operator.lifecycle.idle_action` says otherwise: to name
    /// `idle` at all is to replace that.
    #[serde(default)]
    pub action: IdleAction,
}

/// What happens to a DevServer when nobody uses it, by its spec and the operator's configuration.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IdleRule {
    /// After how long without any sign of use. Absent: nothing ever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TimeSpan>,
    /// What then happens.
    pub action: IdleAction,
}

/// What happens when nobody uses a DevServer.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdleAction {
    /// It is suspended.
    #[default]
    Suspend,
    /// Nothing.
    None,
}

/// That a DevServer is suspended, or soon will be, and why.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Since when it is suspended, or when it will be if nothing changes.
    pub time: Time,
    /// Why.
    pub reason: SuspensionReason,
    /// The same in words.
    pub message: String,
    /// By what its owner can put it off. Absent: by nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Suspension {
    /// Why, and what to do: for its owner.
    pub fn sentence(&self) -> String {
        match &self.advice {
            Some(advice) => format!("{}; {advice}", self.message),
            None => self.message.clone(),
        }
    }
}

/// Why a DevServer is suspended.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspensionReason {
    /// Somebody asked for it.
    Requested,
    /// Nobody has used it for a while.
    Idle,
    /// Its time to live is over.
    Expired,
}

/// A length of time in Kubernetes' and Go's writing: `90m`, `4h`, `1h30m`, `7d`.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct TimeSpan(
    #[schemars(length(min = 2, max = 20), regex(pattern = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))] pub String,
);

impl TimeSpan {
    /// The same length, to the second.
    pub fn of(length: Duration) -> Self {
        let mut seconds = length.as_secs();
        let mut text = String::new();
        for (unit, length) in UNITS {
            if seconds >= length {
                text += &format!("{}{unit}", seconds / length);
                seconds %= length;
            }
        }
        Self(if text.is_empty() { "0s".to_owned() } else { text })
    }

    /// How long it is; none where it is not written as the schema demands, or too long to be counted.
    pub fn get(&self) -> Option<Duration> {
        let (mut rest, mut seconds) = (self.0.as_str(), 0_u64);
        for (unit, length) in UNITS {
            if let Some((count, after)) = rest.split_once(unit) {
                if !count.bytes().all(|digit| digit.is_ascii_digit()) {
                    return None;
                }
                seconds = seconds.checked_add(count.parse::<u64>().ok()?.checked_mul(length)?)?;
                rest = after;
            }
        }
        (rest.is_empty() && !self.0.is_empty()).then_some(Duration::from_secs(seconds))
    }
}

/// Each with its length in seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;

    #[test]
    fn the_schema_lets_in_only_points_in_time_that_can_be_read() {
        let definition = serde_json::to_value(crate::api::DevServer::crd()).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let schema = &schema["properties"]["lifecycle"]["properties"];
        for field in ["extendedUntil", "snoozedUntil"] {
            assert_eq!(schema[field]["pattern"], READABLE_TIME, "{field}");
            // The ends of what the pattern has.
            for time in [
                "0000-01-01T00:00:00+23:59",
                "9998-12-31T23:59:59.999999999-23:59",
                "2026-11-29t12:00:00z",
                "2026-11-29T12:00:00.5Z",
            ] {
                let lifecycle = serde_json::json!({ field: time });
                assert!(serde_json::from_value::<Lifecycle>(lifecycle).is_ok(), "{time}");
            }
        }
    }

    #[test]
    fn time_spans_are_read_as_they_are_written() {
        let seconds = |text: &str| TimeSpan(text.to_owned()).get().map(|span| span.as_secs());
        assert_eq!(seconds("90m"), Some(5_400));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("7d"), Some(604_800));
        assert_eq!(seconds("1d2h3m4s"), Some(93_784));
        for text in ["0s", "90s", "90m", "1h30m", "7d", "1d2h3m4s"] {
            let length = TimeSpan(text.to_owned()).get().unwrap();
            assert_eq!(TimeSpan::of(length).get(), Some(length), "{text}");
        }
        assert_eq!(
            [0, 90, 3_600, 86_400].map(|seconds| TimeSpan::of(Duration::from_secs(seconds)).0),
            ["0s", "1m30s", "1h", "1d"]
        );
        for bad in ["", "h", "4", "-1h", "1m1h", "1.5h", "4h ", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
