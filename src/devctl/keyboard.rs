//! What is typed on a terminal that nobody but us looks after: echo, erasing, the end of a line, Ctrl-C.

use tokio_util::sync::CancellationToken;

/// Makes lines of bytes.
pub struct Keyboard {
    line: Vec<u8>,
    /// Whether it is a terminal in raw mode, whose keys are to be shown.
    raw: bool,
    interrupted: CancellationToken,
}

/// What became of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    /// So many of them were taken: no more than make one line, so that nobody has to keep many.
    pub taken: usize,
    pub shown: Vec<u8>,
    pub entered: Option<Entered>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Entered {
    Line(String),
    /// Ctrl-D: there are no more lines. Ctrl-C may come all the same.
    End,
}

/// A longer line is nobody's answer.
const MAX_LINE: usize = 64 * 1024;
/// As the kernel has it for a terminal.
const MAX_TYPED_LINE: usize = 4096;

impl Keyboard {
    pub fn new(raw: bool, interrupted: CancellationToken) -> Self {
        Self { line: Vec::new(), raw, interrupted }
    }

    pub fn is_terminal(&self) -> bool {
        self.raw
    }

    /// Takes what came, up to the end of a line.
    pub fn take(&mut self, bytes: &[u8]) -> Typed {
        let longest = if self.raw { MAX_TYPED_LINE } else { MAX_LINE };
        let mut shown = Vec::new();
        for (at, &byte) in bytes.iter().enumerate() {
            let entered = match byte {
                b'\r' | b'\n' if self.raw => {
                    shown.extend_from_slice(b"\r\n");
                    Some(Entered::Line(self.end_line()))
                }
                b'\n' => Some(Entered::Line(self.end_line())),
                CTRL_C if self.raw => {
                    self.interrupted.cancel();
                    None
                }
                CTRL_D if self.raw && self.line.is_empty() => Some(Entered::End),
                ERASE | BACKSPACE | CTRL_U if self.raw => {
                    let most = if byte == CTRL_U { usize::MAX } else { 1 };
                    let erased = (0..most).take_while(|_| self.erase()).count();
                    shown.extend_from_slice(&b"\x08 \x08".repeat(erased));
                    None
                }
                ..b' ' if self.raw => None,
                _ if self.line.len() < longest => {
                    self.line.push(byte);
                    if self.raw {
                        shown.push(byte);
                    }
                    None
                }
                _ => None,
            };
            if entered.is_some() {
                return Typed { taken: at + 1, shown, entered };
            }
        }
        Typed { taken: bytes.len(), shown, entered: None }
    }

    /// No more comes: what there is counts as a line.
    pub fn end(self) -> Option<String> {
        (!self.line.is_empty()).then(|| String::from_utf8_lossy(&self.line).into_owned())
    }

    fn end_line(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Takes away the last character.
    fn erase(&mut self) -> bool {
        while let Some(byte) = self.line.pop() {
            // The first byte of a character in UTF-8.
            if byte & 0xc0 != 0x80 {
                return true;
            }
        }
        false
    }
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const ERASE: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(raw: bool, mut bytes: &[u8]) -> (Vec<u8>, Vec<String>, bool) {
        let interrupted = CancellationToken::new();
        let mut keyboard = Keyboard::new(raw, interrupted.clone());
        let (mut shown, mut lines) = (Vec::new(), Vec::new());
        while !bytes.is_empty() {
            let typed = keyboard.take(bytes);
            bytes = &bytes[typed.taken..];
            shown.extend(typed.shown);
            match typed.entered {
                Some(Entered::Line(line)) => lines.push(line),
                Some(Entered::End) | None => {}
            }
        }
        lines.extend(keyboard.end());
        (shown, lines, interrupted.is_cancelled())
    }

    #[test]
    fn keys_are_shown_and_mistakes_erased() {
        assert_eq!(typed(true, "yx\u{7f}é\u{7f}es\r".as_bytes()).1, ["yes"]);
        assert_eq!(typed(true, b"ab\r").0, b"ab\r\n");
        assert_eq!(typed(true, b"wrong\x15right\r").1, ["right"]);
        assert_eq!(typed(true, b"\x1b[A\r").1, ["[A"]);
    }

    #[test]
    fn ctrl_c_interrupts_a_terminal_and_nothing_else() {
        assert!(typed(true, b"\x03").2);
        assert!(typed(true, b"\x04\x03").2, "the end of the lines is not the end of the keyboard");
        assert!(!typed(false, b"\x03").2);
    }

    #[test]
    fn a_program_sends_lines_and_hears_no_echo() {
        assert_eq!(typed(false, b"one\ntwo"), (vec![], vec!["one".to_owned(), "two".to_owned()], false));
    }

    #[test]
    fn a_line_is_given_before_the_next_is_read() {
        let mut keyboard = Keyboard::new(false, CancellationToken::new());
        let line = |text: &str, taken| Typed { taken, shown: vec![], entered: Some(Entered::Line(text.to_owned())) };
        assert_eq!(keyboard.take(b"one\ntwo\n"), line("one", 4));
        assert_eq!(keyboard.take(b"\n\n"), line("", 1));
        assert_eq!(keyboard.take(&[b'x'; MAX_LINE * 2]).entered, None);
        assert_eq!(keyboard.end().map(|line| line.len()), Some(MAX_LINE));
    }
}
