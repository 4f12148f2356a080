//! Warnings to whoever sits at a terminal, which a program may be drawing on at the time.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::message;
use crate::workspace::TerminalSize;

/// The warnings of one session.
pub(super) struct Notices {
    texts: BoxStream<'static, String>,
    /// Those that came from the program's side, and are not shown yet.
    added: VecDeque<String>,
    /// That of the terminal at first, if there is one.
    size: Option<TerminalSize>,
    sizes: watch::Receiver<Option<TerminalSize>>,
    /// What the client had sent when the last warning was shown, and when that was.
    shown: Option<(u64, Instant)>,
    /// None is shown before the screen is there that it lies over.
    begin: Instant,
    reading: Duration,
}

/// What to do with the terminal.
pub(super) enum Notice {
    Show(Bytes),
    Redraw,
}

impl Notices {
    /// `texts` for a terminal of this `size`.
    pub(super) fn new(
        texts: BoxStream<'static, String>,
        size: TerminalSize,
        sizes: watch::Receiver<Option<TerminalSize>>,
    ) -> Self {
        let added = VecDeque::new();
        Self { texts, added, size: Some(size), sizes, shown: None, begin: Instant::now() + BEGIN, reading: READING }
    }

    /// For a session that is told nothing.
    pub(super) fn none(sizes: watch::Receiver<Option<TerminalSize>>) -> Self {
        let (texts, begin) = (futures::stream::pending().boxed(), Instant::now());
        let added = VecDeque::new();
        Self { texts, added, size: None, sizes, shown: None, begin, reading: READING }
    }

    /// Another one, as soon as may be. A pod may say more than anybody can read: of much only the newest is kept.
    pub(super) fn add(&mut self, text: String) {
        if self.added.len() == MAX_ADDED {
            self.added.pop_front();
        }
        self.added.push_back(text);
    }

    /// What was not shown when the program ended.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = String> {
        self.added.drain(..)
    }

    /// What is next; `input` counts the bytes from the client. On a terminal that `is_drawn_anew` a warning lies over
    /// the upper rows until it was seen, on another it is a line of its own. Cancel safe.
    pub(super) async fn next(&mut self, input: &mut watch::Receiver<u64>, is_drawn_anew: bool) -> Notice {
        let Self { texts, added, size, sizes, shown, begin, reading } = self;
        let text = async {
            sleep_until(*begin).await;
            if let Some(text) = added.pop_front() {
                return text;
            }
            match texts.next().await {
                Some(text) => text,
                None => std::future::pending().await,
            }
        };
        // Whoever types has seen it, if it was there for a while.
        let seen = async {
            match shown {
                Some((before, since)) if input.wait_for(|count| count != before).await.is_ok() => {
                    sleep_until(*since + *reading).await;
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            text = text => match size.filter(|_| is_drawn_anew) {
                None => Notice::Show(message::terminal_line(&text)),
                Some(first) => {
                    let size = (*sizes.borrow()).unwrap_or(first);
                    *shown = Some((*input.borrow(), Instant::now()));
                    Notice::Show(message::overlay(&text, size.columns, size.rows))
                }
            },
            () = seen => {
                *shown = None;
                Notice::Redraw
            }
        }
    }
}

/// A shell shows its prompt, or what was on its screen, within this.
const BEGIN: Duration = Duration::from_secs(1);
/// Warnings that wait until they can be shown.
const MAX_ADDED: usize = 4;
/// The least time to read a warning.
const READING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use tokio::time::timeout;

    /// Notices of one text, on a small terminal that is read fast.
    fn notices(text: &str) -> Notices {
        let texts = stream::iter([text.to_owned()]).chain(stream::pending()).boxed();
        let (_, sizes) = watch::channel(None);
        let mut notices = Notices::new(texts, TerminalSize { columns: 40, rows: 10 }, sizes);
        (notices.begin, notices.reading) = (Instant::now(), Duration::from_millis(50));
        notices
    }

    fn is_quiet(next: &Result<Notice, tokio::time::error::Elapsed>) -> bool {
        next.is_err()
    }

    const LONG: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_warning_stays_until_it_was_seen() {
        let (input, mut count) = watch::channel(7);
        let mut notices = notices("one");
        let Notice::Show(shown) = notices.next(&mut count, true).await else { panic!("it is shown first") };
        assert!(std::str::from_utf8(&shown).unwrap().contains("bastion: one"));
        assert!(is_quiet(&timeout(LONG, notices.next(&mut count, true)).await), "nobody has typed");
        input.send_replace(8);
        assert!(matches!(notices.next(&mut count, true).await, Notice::Redraw));
        assert!(is_quiet(&timeout(LONG, notices.next(&mut count, true)).await), "drawn anew once");
    }

    #[tokio::test]
    async fn who_types_meanwhile_has_time_to_read() {
        let (input, mut count) = watch::channel(0);
        let mut notices = notices("one");
        let Notice::Show(_) = notices.next(&mut count, true).await else { panic!("it is shown first") };
        let shown = Instant::now();
        input.send_replace(1);
        assert!(matches!(notices.next(&mut count, true).await, Notice::Redraw));
        assert!(shown.elapsed() >= notices.reading);
    }

    #[tokio::test]
    async fn what_is_added_is_shown_too_or_left_for_the_end() {
        let (_input, mut count) = watch::channel(0);
        let (_, sizes) = watch::channel(None);
        let mut notices = Notices::new(stream::pending().boxed(), TerminalSize { columns: 40, rows: 10 }, sizes);
        notices.add("one".to_owned());
        assert!(
            is_quiet(&timeout(Duration::from_millis(20), notices.next(&mut count, true)).await),
            "its screen comes first"
        );
        assert_eq!(notices.rest().collect::<Vec<_>>(), ["one"]);
        notices.begin = Instant::now();
        notices.add("two".to_owned());
        let Notice::Show(shown) = notices.next(&mut count, true).await else { panic!("it is shown first") };
        assert!(std::str::from_utf8(&shown).unwrap().contains("bastion: two") && notices.rest().next().is_none());
        for text in ["1", "2", "3", "4", "5", "6"] {
            notices.add(text.to_owned());
        }
        assert_eq!(notices.rest().collect::<Vec<_>>(), ["3", "4", "5", "6"], "a pod that floods is not listened to");
    }

    #[tokio::test]
    async fn what_cannot_be_drawn_anew_is_told_in_a_line() {
        let (input, mut count) = watch::channel(0);
        let mut notices = notices("one");
        let Notice::Show(shown) = notices.next(&mut count, false).await else { panic!("it is shown first") };
        assert_eq!(shown, message::terminal_line("one"));
        input.send_replace(1);
        assert!(is_quiet(&timeout(LONG, notices.next(&mut count, false)).await));
    }
}
