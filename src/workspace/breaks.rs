//! How the links of one carrier break: when to try again, and when that is of no use. Pure: the time is passed in.

use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use crate::carrier;

/// Between two tries to link.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, after links that break again and again.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A link that lasts longer is none that breaks at once.
const SOON: Duration = Duration::from_secs(1);
/// So many times in a row the other side said what it may not say.
const MAX_WRONG: u32 = 2;

#[derive(Default)]
pub(super) struct Breaks {
    /// The first since a link that lasted.
    since: Option<Instant>,
    /// Links in a row that broke at once.
    brief: u32,
    /// In a row, those on which the other side said what it may not say, be it in its hello.
    wrong: u32,
}

impl Breaks {
    /// A link failed, or one of that length broke. Returns how long to wait before the next.
    pub(super) fn broke(&mut self, lasted: Option<Duration>, error: &Error, now: Instant) -> Duration {
        if lasted.is_some_and(|lasted| lasted > SOON) {
            *self = Self { since: Some(now), brief: 0, wrong: 0 };
            return Duration::ZERO;
        }
        self.since.get_or_insert(now);
        let is_wrong = matches!(error, Error::Carrier(carrier::Error::Protocol(_)));
        self.wrong += u32::from(is_wrong);
        if lasted.is_none() {
            return PAUSE;
        }
        if !is_wrong {
            self.wrong = 0;
        }
        self.brief += 1;
        (PAUSE * 2_u32.saturating_pow(self.brief - 1)).min(MAX_PAUSE)
    }

    /// Since when there is no link that lasts.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn are_hopeless(&self) -> bool {
        self.wrong >= MAX_WRONG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lost() -> Error {
        Error::Lost("the exec was closed".into())
    }

    fn wrong() -> Error {
        Error::Carrier(carrier::Error::Protocol("a second hello"))
    }

    /// Regression: such a link was opened again ten times a second for as long as somebody was in, and nobody was told.
    #[test]
    fn links_that_break_at_once_are_opened_less_and_less_often_and_count_as_one_outage() {
        let (mut breaks, began) = (Breaks::default(), Instant::now());
        let mut now = began;
        for _ in 0..100 {
            now += breaks.broke(Some(SECOND / 10), &lost(), now);
        }
        assert!(now - began > 90 * MAX_PAUSE, "{:?}", now - began);
        assert_eq!((breaks.since(), breaks.are_hopeless()), (Some(began), false));
        assert_eq!(breaks.broke(Some(2 * SECOND), &lost(), now), Duration::ZERO);
        assert_eq!(breaks.since(), Some(now));
        assert_eq!(breaks.broke(Some(SECOND / 10), &lost(), now), PAUSE);
    }

    #[test]
    fn an_api_server_that_is_away_is_asked_again_soon_for_as_long_as_it_is() {
        let (mut breaks, began) = (Breaks::default(), Instant::now());
        for at in 0..100 {
            assert_eq!(breaks.broke(None, &lost(), began + at * SECOND), PAUSE);
        }
        assert_eq!(breaks.since(), Some(began));
    }

    #[test]
    fn another_side_that_speaks_wrongly_twice_in_a_row_is_given_up() {
        let (mut breaks, now) = (Breaks::default(), Instant::now());
        let brief = Some(SECOND / 10);
        for error in [wrong(), lost(), wrong()] {
            breaks.broke(brief, &error, now);
            assert!(!breaks.are_hopeless());
        }
        breaks.broke(brief, &wrong(), now);
        assert!(breaks.are_hopeless());
        breaks.broke(Some(2 * SECOND), &wrong(), now);
        assert!(!breaks.are_hopeless());
        // A hello that is none cost an exec each time until all patience was over.
        breaks.broke(None, &wrong(), now);
        breaks.broke(None, &lost(), now); // Says nothing about the other side.
        breaks.broke(None, &wrong(), now);
        assert!(breaks.are_hopeless());
    }
}
