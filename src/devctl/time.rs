//! Times as people read them.

use std::time::Duration;

use clap::builder::TypedValueParser;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::TimeSpan;

/// How long ago `then` was, as kubectl tells it: `42s`, `5m30s`, `3h`, `12d`.
pub(super) fn age(then: Option<&Time>, now: Timestamp) -> String {
    then.map_or_else(|| "-".to_owned(), |then| span(now.as_second().saturating_sub(then.0.as_second()).unsigned_abs()))
}

/// `in 3h`, `3h ago`, or `now`.
pub(super) fn relative(time: &Time, now: Timestamp) -> String {
    match time.0.as_second() - now.as_second() {
        0 => "now".to_owned(),
        left @ 1.. => format!("in {}", span(left.unsigned_abs())),
        gone => format!("{} ago", span(gone.unsigned_abs())),
    }
}

/// A point in time with how far it is: `2026-11-29 14:05 UTC (in 3h)`.
pub(super) fn point(time: &Time, now: Timestamp) -> String {
    format!("{} UTC ({})", time.0.strftime("%Y-%m-%d %H:%M"), relative(time, now))
}

pub(super) fn span(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let both = |unit: u64, name: &str, lower: u64, lower_name: &str| match seconds % unit / lower {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{lower_name}", seconds / unit),
    };
    match seconds {
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => both(MINUTE, "m", 1, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => both(HOUR, "h", MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => both(DAY, "d", HOUR, "h"),
        _ => format!("{}d", seconds / DAY),
    }
}

/// Reads a time span of the command line.
pub(super) fn parser() -> impl TypedValueParser<Value = TimeSpan> {
    |text: &str| parse(text)
}

pub(super) fn parse(text: &str) -> Result<TimeSpan, String> {
    let span = TimeSpan(text.to_owned());
    match span.get() {
        Some(length) if length > Duration::ZERO => Ok(span),
        _ => Err("a time is written like 4h, 90m, 1h30m or 7d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_kubectl_has_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (3600, "60m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (86_400, "24h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn points_say_how_far_they_are() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        assert_eq!(relative(&at(1_000_000 + 7200), now), "in 120m");
        assert_eq!(relative(&at(1_000_000 - 5), now), "5s ago");
        assert_eq!(relative(&at(1_000_000), now), "now");
        assert_eq!(age(Some(&at(999_000)), now), "16m");
        assert_eq!(point(&at(1_000_060), now), "1970-01-12 13:47 UTC (in 60s)");
    }

    #[test]
    fn time_on_the_command_line_is_checked() {
        assert!(parse("4h").is_ok() && parse("0h").is_err() && parse("4").is_err());
    }
}
