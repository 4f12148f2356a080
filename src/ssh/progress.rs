//! Tells the user what her login waits for: one line that changes in place on a shell's terminal; for a command lines
//! on stderr, and only once it takes long enough to wonder.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::message;
use super::writer::{End, Writer};

/// To a command nothing is said of a wait as short as this.
const PATIENCE: Duration = Duration::from_secs(2);

/// What does not fit on a passing line is shown part by part, each for so long.
const TURN: Duration = Duration::from_secs(4);

/// Shows the last of `messages` until their sender is dropped; `columns` is the terminal's width, if there is one.
/// Returns whether a line must be cleared from the terminal.
pub(super) async fn show(mut messages: watch::Receiver<String>, writer: &Writer, columns: Option<u16>) -> bool {
    // What a command writes can overtake stderr on the way to the terminal, and a line cleared then would be the
    // command's.
    let passing = columns.filter(|_| writer.end == End::Screen);
    if passing.is_none() {
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            match tokio::time::timeout_at(patience, messages.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return false,
                Err(_) => messages.mark_changed(),
            }
        }
    }
    let (mut told, mut shown) = (String::new(), String::new());
    let mut turns = Vec::new().into_iter().cycle();
    let mut next_turn = tokio::time::interval(TURN);
    loop {
        tokio::select! {
            changed = messages.changed() => {
                if changed.is_err() {
                    break;
                }
                let text = messages.borrow_and_update().clone();
                if text == told {
                    continue;
                }
                let parts = passing.map_or_else(|| vec![text.clone()], |columns| message::turns(&text, columns));
                turns = parts.into_iter().cycle();
                told = text;
                next_turn.reset();
            }
            _ = next_turn.tick() => {}
        }
        let Some(text) = turns.next().filter(|text| !text.is_empty() && *text != shown) else { continue };
        let said = match (passing, columns) {
            (Some(columns), _) => writer.draw(message::passing_line(&text, columns)).await,
            (None, Some(_)) => writer.draw(message::line_of_its_own(&text)).await,
            (None, None) => writer.say(&text).await,
        };
        if said.is_err() {
            break;
        }
        shown = text;
    }
    passing.is_some() && !shown.is_empty()
}
