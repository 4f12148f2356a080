//! The words of others, fit for a terminal.

/// `text` as one line, without what moves the cursor, cannot be seen, or turns around what is around it.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_trick(c) { ' ' } else { c }).collect()
}

/// The first `most` characters of `text`, and a mark if there are more.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first `most` of `all`, and how many more there are.
pub fn few(all: &[String], most: usize, between: &str) -> String {
    let more = all.len().saturating_sub(most);
    let first = all[..all.len() - more].join(between);
    if more == 0 { first } else { format!("{first}{between}and {more} more") }
}

/// Of Unicode's format characters those that no word needs, as joiners are needed, and its line and paragraph ends.
fn is_trick(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plays_tricks_is_blank() {
        assert_eq!(plain("a\x1b]0;x\x07\u{9b}b\u{202e}c\u{2066}d\u{200b}e\n"), "a ]0;x  b c d e ");
        assert_eq!(plain("héllo שלום 👩‍🔬 “…”"), "héllo שלום 👩‍🔬 “…”");
    }

    #[test]
    fn only_the_first_are_named() {
        let all = |n: usize| (1..=n).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(few(&all(2), 2, "; "), "1; 2");
        assert_eq!(few(&all(4), 2, "; "), "1; 2; and 2 more");
    }
}
