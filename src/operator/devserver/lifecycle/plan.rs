//! When a DevServer is suspended that may be: never without a warning, and as announced unless things changed.

use std::time::Duration;

use jiff::Timestamp;

use super::messages::Words;
use super::{earlier, later};
use crate::api::{Suspension, SuspensionReason};

/// A reason to suspend it.
pub(super) struct Plan {
    /// When it would be, whether anybody was warned or not.
    pub(super) base: Timestamp,
    pub(super) reason: SuspensionReason,
    /// The reason in words that hold until then, and what to do.
    pub(super) words: Words,
    /// The least between the warning and the deed.
    pub(super) notice: Duration,
    /// Whether it may be done by what is known now.
    pub(super) is_certain: bool,
    /// How long before it is announced.
    pub(super) window: Duration,
}

impl Plan {
    /// When it will be. What comes about all of a sudden, by a changed setting or an operator that was away, waits
    /// until the warning could be read.
    pub(super) fn at(&self, announced: Option<&Suspension>, now: Timestamp) -> Timestamp {
        let noticed = later(now, self.notice);
        let announced = announced.filter(|announced| announced.reason == self.reason);
        self.base.max(announced.map_or(noticed, |announced| announced.time.0.min(noticed)))
    }
}

/// What is planned is told again when no more than this is left. Sessions are told more often.
const WARNINGS: [Duration; 2] = [Duration::from_mins(15), Duration::from_mins(5)];

/// How many of the further warnings of a suspension at `time` are due.
pub(in crate::operator::devserver) fn warnings_due(time: Timestamp, now: Timestamp) -> usize {
    WARNINGS.into_iter().filter(|before| now >= earlier(time, *before)).count()
}

/// When the next of them is, or the suspension itself.
pub(super) fn next_warning(time: Timestamp, now: Timestamp) -> Timestamp {
    WARNINGS.into_iter().map(|before| earlier(time, before)).find(|warning| now < *warning).unwrap_or(time)
}
