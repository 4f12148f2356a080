//! Whether a DevServer is used, as far as its status tells. Pure.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::DevServerStatus;

/// What the signs of use come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// This keeps it awake.
    #[allow(dead_code, reason = "no sign of today's says that something goes on, only when it last did")]
    Busy(&'static str),
    /// There was no sign of use since.
    IdleSince(Timestamp),
    /// It cannot be told, and why. That is not idle.
    Unknown(String),
}

pub(super) fn usage(status: &DevServerStatus, now: Timestamp) -> Usage {
    let Some(activity) = &status.activity else {
        return Usage::Unknown("nothing has told yet how it is used".to_owned());
    };
    let signs = [&activity.last_input_time, &activity.last_output_time, &activity.last_forward_time];
    let Some(last) = signs.into_iter().flatten().map(|time| time.0).max() else {
        return Usage::Unknown("nothing has told yet how it is used".to_owned());
    };
    if activity.programs + activity.forwards > 0 && now.duration_since(last) > OUT_OF_DATE {
        return Usage::Unknown("programs run in it, and nothing tells what they do".to_owned());
    }
    Usage::IdleSince(last)
}

/// What was told longer ago says nothing of programs that still ran then.
const OUT_OF_DATE: SignedDuration = SignedDuration::from_mins(10);
