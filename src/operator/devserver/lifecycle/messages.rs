//! Why a DevServer sleeps or will, and by what its owner can put that off. The words do not change while the reason
//! does not.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Suspension, SuspensionReason};

pub(super) const REQUESTED: &str = "somebody asked for it";

/// The message and the advice.
pub(super) type Words = (String, Option<String>);

pub(super) fn expires(name: &str, end: Timestamp, is_last: bool) -> Words {
    let message = format!("its time is over at {}", clock(end));
    match is_last {
        true => (format!("{message}, the longest that is allowed; a login resumes it for as long again"), None),
        false => (message, Some(format!("`devctl extend {name} --time 4h` gives it more"))),
    }
}

pub(super) fn idle(name: &str, since: Timestamp) -> Words {
    let message = format!("nobody has used it since {}", clock(since));
    (message, Some(format!("type something, or `devctl snooze {name}`")))
}

/// What was announced, now that it has come about.
pub(super) fn now_that_it_sleeps(planned: &Suspension, expiration: Option<&Time>) -> String {
    match (planned.reason, expiration) {
        (SuspensionReason::Expired, Some(end)) => format!("its time was over at {}", clock(end.0)),
        _ => planned.message.clone(),
    }
}

/// Of a DevServer that sleeps: that, why, and what to do.
pub(in crate::operator::devserver) fn sleeps(suspension: &Suspension, is_ephemeral: bool) -> String {
    format!(
        "suspended since {}: {}; {}a login resumes it",
        clock(suspension.time.0),
        suspension.message,
        if is_ephemeral { "" } else { "its home is kept, and " }
    )
}

fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
