//! Why a DevServer sleeps or will, in words for its owner. They do not change while the reason does not.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Suspension, SuspensionReason};

pub(super) const REQUESTED: &str = "somebody asked for it";

pub(super) fn expires(name: &str, end: Timestamp, is_last: bool) -> String {
    let end = clock(end);
    match is_last {
        true => format!("its time is over at {end}, the longest that is allowed; a login resumes it for as long again"),
        false => format!("its time is over at {end}; `devctl extend {name} --time 4h` gives it more"),
    }
}

pub(super) fn idle(name: &str, since: Timestamp) -> String {
    format!("nobody has used it since {}; type something, or `devctl snooze {name}`", clock(since))
}

/// What was announced, now that it has come about.
pub(super) fn now_that_it_sleeps(planned: &Suspension, expiration: Option<&Time>) -> String {
    match (planned.reason, expiration) {
        (SuspensionReason::Expired, Some(end)) => format!("its time was over at {}", clock(end.0)),
        // What could have been done is no use any more.
        _ => planned.why().to_owned(),
    }
}

/// Of a DevServer that sleeps: that, why, and what to do.
pub(in crate::operator::devserver) fn sleeps(suspension: &Suspension) -> String {
    format!(
        "suspended since {}: {}; its home is kept, and a login resumes it",
        clock(suspension.time.0),
        suspension.message
    )
}

fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
