//! What users read from the bastion itself. It goes to the screen of a shell, else to stderr.

use bytes::Bytes;

/// A line from the bastion. A terminal in raw mode needs the carriage return, and gets a clean line.
pub(super) fn line(text: &str, terminal: bool) -> Bytes {
    match terminal {
        true => format!("\r\x1b[Kbastion: {text}\r\n"),
        false => format!("bastion: {text}\n"),
    }
    .into()
}

/// A line for a terminal that something else may be writing to: it clears nothing.
pub(super) fn line_of_its_own(text: &str) -> Bytes {
    format!("bastion: {text}\r\n").into()
}

/// A line that the next one takes the place of. It must not wrap: only the row of the cursor can be cleared.
pub(super) fn passing_line(text: &str, columns: u16) -> Bytes {
    const FRAME: usize = "bastion:  … ".len() - 2; // The ellipsis is three bytes and one column.
    let room = usize::from(columns).saturating_sub(FRAME);
    let short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(room).collect();
    format!("\r\x1b[Kbastion: {short} …").into()
}

/// Takes a passing line away.
pub(super) const CLEAR_LINE: Bytes = Bytes::from_static(b"\r\x1b[K");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_line_is_one_row() {
        let line = passing_line(&"no node fits\n".repeat(20), 40);
        let text = std::str::from_utf8(&line).unwrap().strip_prefix("\r\x1b[K").unwrap();
        assert_eq!(text.chars().count(), 39);
        assert!(text.ends_with(" …") && !text.contains('\n'));
        assert_eq!(passing_line("x", 0), passing_line("", 80));
    }
}
