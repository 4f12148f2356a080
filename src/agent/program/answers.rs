//! What a terminal says by itself, and nobody types: answers to what a program asked it, and whether it has the focus.

use bytes::Bytes;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 7;

/// Knows them in what comes from a terminal. What is in doubt was typed.
#[derive(Default)]
pub(super) struct Answers {
    /// Within the text of an answer that has not ended yet.
    in_text: bool,
}

impl Answers {
    /// What was typed of `input`.
    pub(super) fn take_from(&mut self, input: &Bytes) -> Bytes {
        if !self.in_text && !input.contains(&ESCAPE) {
            return input.clone();
        }
        let mut typed = Vec::new();
        let mut rest = &input[..];
        while !rest.is_empty() {
            let answer = if self.in_text { self.text(rest) } else { self.answer(rest) };
            match answer {
                Some(length) => rest = &rest[length..],
                None => {
                    typed.push(rest[0]);
                    rest = &rest[1..];
                }
            }
        }
        typed.into()
    }

    /// The length of an answer at the beginning of `input`, if there is one.
    fn answer(&mut self, input: &[u8]) -> Option<usize> {
        match input {
            // Alt with a bracket or a letter comes alone.
            [ESCAPE, b']', b'0'..=b'9', ..] | [ESCAPE, b'P', b'0'..=b'9' | b'>' | b'!' | b'$' | b'+', ..] => {
                self.in_text = true;
                Some(2)
            }
            [ESCAPE, b'[', sequence @ ..] => {
                let end = sequence.iter().position(|byte| !matches!(byte, 0x20..=0x3f))?;
                is_answer(&sequence[..end], sequence[end]).then_some(end + 3)
            }
            _ => None,
        }
    }

    /// The length of what belongs to the text that is being read, with what ends it.
    fn text(&mut self, input: &[u8]) -> Option<usize> {
        let length = input.iter().position(|byte| *byte < b' ').unwrap_or(input.len());
        if length > 0 {
            return Some(length);
        }
        self.in_text = false;
        match input {
            [BELL, ..] => Some(1),
            [ESCAPE, b'\\', ..] => Some(2),
            _ => self.answer(input),
        }
    }
}

/// Of a control sequence: device attributes, cursor, states, modes, keyboard, window, graphics, focus.
fn is_answer(parameters: &[u8], end: u8) -> bool {
    let private = parameters.first().is_some_and(|byte| matches!(byte, b'?' | b'>' | b'='));
    match end {
        b'c' | b'u' | b'S' => private,
        b'R' => private || parameters.contains(&b';'),
        b'n' => private || parameters == b"0",
        b'y' => parameters.ends_with(b"$"),
        b't' => parameters.contains(&b';'),
        b'I' | b'O' => parameters.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str]) -> String {
        let mut answers = Answers::default();
        let typed: Vec<Bytes> =
            pieces.iter().map(|piece| answers.take_from(&Bytes::copy_from_slice(piece.as_bytes()))).collect();
        String::from_utf8(typed.concat()).unwrap()
    }

    #[test]
    fn what_a_terminal_says_was_not_typed() {
        for answer in [
            "\x1b[?62;22c",
            "\x1b[>41;330;0c",
            "\x1b[24;80R",
            "\x1b[?24;80R",
            "\x1b[0n",
            "\x1b[?997;1n",
            "\x1b[?2026;2$y",
            "\x1b[?1u",
            "\x1b[8;24;80t",
            "\x1b[I",
            "\x1b[O",
            "\x1b]11;rgb:ffff/ffff/ffff\x07",
            "\x1b]11;rgb:ffff/ffff/ffff\x1b\\",
            "\x1bP>|XTerm(370)\x1b\\",
            "\x1bP1$r0m\x1b\\",
        ] {
            assert_eq!(typed(&[&format!("a{answer}b{answer}")]), "ab", "{answer:?}");
        }
        assert_eq!(typed(&["\x1b]52;c;QUJD", "QUJD\x1b\\vim"]), "vim", "an answer may be long");
        assert_eq!(typed(&["\x1b]11;rgb:ff\r", "ls\r"]), "\rls\r", "no answer has a line");
    }

    #[test]
    fn keys_are_typed() {
        for keys in [
            "ls\r",
            "\x1b",
            "\x1b[A",
            "\x1bOP",
            "\x1b[1;5C",
            "\x1b[15~",
            "\x1b]",
            "\x1bP",
            "\x1b[",
            "\x1b[R",
            "\x1b[Z",
            "\x1b[97;5u",
            "\x1b[<0;10;5M",
            "\x1b[<0;10;5m",
            "\x1b[200~text\x1b[201~",
            "\x1b\x1b[A",
            "ä\x1bb",
        ] {
            assert_eq!(typed(&[keys]), keys, "{keys:?}");
        }
        assert_eq!(typed(&["\x1b", "[A"]), "\x1b[A");
    }
}
