//! What users read from the bastion itself. It goes to the screen of a shell, else to stderr.

use bytes::Bytes;

use crate::plain::plain;

/// A line from the bastion. Some of the words may be another user's: of an image, say, or of a kubelet about it.
pub(super) fn line(text: &str) -> Bytes {
    format!("bastion: {}\n", plain(text)).into()
}

/// A line for a terminal: in raw mode it needs the carriage return. It gets a clean line.
pub(super) fn terminal_line(text: &str) -> Bytes {
    format!("\r\x1b[Kbastion: {}\r\n", plain(text)).into()
}

/// A line for a terminal that something else may be writing to: it clears nothing.
pub(super) fn line_of_its_own(text: &str) -> Bytes {
    format!("bastion: {}\r\n", plain(text)).into()
}

/// A line that the next one takes the place of. It must not wrap: only the row of the cursor can be cleared.
pub(super) fn passing_line(text: &str, columns: u16) -> Bytes {
    let room = room(columns);
    let short: String = plain(text).chars().take(room).collect();
    format!("\r\x1b[Kbastion: {short} …").into()
}

/// What of `text` is shown at a time where only a passing line is: as many of its clauses as fit.
pub(super) fn turns(text: &str, columns: u16) -> Vec<String> {
    let mut turns: Vec<String> = Vec::new();
    for clause in text.split("; ") {
        match turns.last_mut().filter(|turn| turn.chars().count() + 2 + clause.chars().count() <= room(columns)) {
            Some(turn) => *turn = format!("{turn}; {clause}"),
            None => turns.push(clause.to_owned()),
        }
    }
    turns
}

/// How much of a passing line is for the text.
fn room(columns: u16) -> usize {
    const FRAME: usize = "bastion:  … ".len() - 2; // The ellipsis is three bytes and one column.
    usize::from(columns).saturating_sub(FRAME)
}

/// Rows in reverse video over the upper ones of a terminal, whose cursor stays where it is.
pub(super) fn overlay(text: &str, columns: u16, rows: u16) -> Bytes {
    let width = usize::from(columns.max(20));
    let text: Vec<char> = plain(&format!("bastion: {text}")).chars().collect();
    let lines = text.chunks(width).take(usize::from(rows / 2).max(1)).enumerate();
    let drawn = lines.map(|(row, line)| {
        let line: String = line.iter().collect();
        format!("\x1b[{};1H\x1b[7m{line:width$}\x1b[m", row + 1)
    });
    format!("\x1b7{}\x1b8", drawn.collect::<String>()).into()
}

/// Takes a passing line away.
pub(super) const CLEAR_LINE: Bytes = Bytes::from_static(b"\r\x1b[K");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_takes_the_rows_it_needs_and_leaves_the_cursor() {
        let mut terminal = vt100::Parser::new(6.try_into().unwrap(), 20.try_into().unwrap(), 0);
        terminal.process(b"\x1b[5;3Hprompt$ ");
        terminal.process(&overlay("it is suspended in 5 min", 20, 6));
        assert_eq!(terminal.screen().cursor_position(), (4, 10));
        assert_eq!(terminal.screen().contents(), "bastion: it is suspe\nnded in 5 min       \n\n\n  prompt$ ");
        terminal.process(&overlay(&"long ".repeat(100), 20, 6));
        assert!(terminal.screen().contents().contains("prompt$"), "half of the screen at most");
    }

    #[test]
    fn words_of_others_play_no_tricks() {
        let text = "image x\x1b]0;owned\x07\u{202e}y";
        let shown = "bastion: image x ]0;owned  y";
        assert_eq!(line(text), format!("{shown}\n"));
        assert_eq!(terminal_line(text), format!("\r\x1b[K{shown}\r\n"));
        assert_eq!(line_of_its_own(text), format!("{shown}\r\n"));
    }

    #[test]
    fn a_passing_line_is_one_row() {
        let line = passing_line(&"no node fits\n".repeat(20), 40);
        let text = std::str::from_utf8(&line).unwrap().strip_prefix("\r\x1b[K").unwrap();
        assert_eq!(text.chars().count(), 39);
        assert!(text.ends_with(" …") && !text.contains('\n'));
        assert_eq!(passing_line("x", 0), passing_line("", 80));
    }

    #[test]
    fn what_does_not_fit_on_a_row_has_its_turn() {
        let text = "no node fits; it starts as soon as there is room; take another";
        assert_eq!(turns(text, 80), [text]);
        let told = ["no node fits", "it starts as soon as there is room", "take another"];
        assert_eq!(turns(text, 50), told);
        assert_eq!(turns(text, 62), ["no node fits; it starts as soon as there is room", "take another"]);
        assert_eq!(turns("", 0), [""]);
    }
}
