//! What is typed on a terminal that nobody but us looks after: echo, erasing, the end of a line, Ctrl-C.

use tokio_util::sync::CancellationToken;

/// Makes lines of bytes.
pub struct Keyboard {
    line: Vec<u8>,
    /// Whether it is a terminal in raw mode, whose keys are to be shown.
    raw: bool,
    /// That are complete.
    lines: Vec<String>,
    interrupted: CancellationToken,
}

/// A longer line is nobody's answer.
const MAX_LINE: usize = 64 * 1024;

impl Keyboard {
    pub fn new(raw: bool, interrupted: CancellationToken) -> Self {
        Self { line: Vec::new(), raw, lines: Vec::new(), interrupted }
    }

    pub fn is_terminal(&self) -> bool {
        self.raw
    }

    /// The lines that have come since the last time.
    pub fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Takes what came, and gives what is to be shown of it; none at the end of the input.
    pub fn take(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut shown = Vec::new();
        for &byte in bytes {
            match byte {
                b'\r' | b'\n' if self.raw => {
                    shown.extend_from_slice(b"\r\n");
                    self.end_line();
                }
                b'\n' => self.end_line(),
                CTRL_C if self.raw => self.interrupted.cancel(),
                CTRL_D if self.raw && self.line.is_empty() => return None,
                ERASE | BACKSPACE | CTRL_U if self.raw => {
                    let most = if byte == CTRL_U { usize::MAX } else { 1 };
                    let erased = (0..most).take_while(|_| self.erase()).count();
                    shown.extend_from_slice(&b"\x08 \x08".repeat(erased));
                }
                ..b' ' if self.raw => {}
                _ if self.line.len() < MAX_LINE => {
                    self.line.push(byte);
                    if self.raw {
                        shown.push(byte);
                    }
                }
                _ => {}
            }
        }
        Some(shown)
    }

    /// No more comes: what there is counts as a line.
    pub fn end(self) -> Option<String> {
        (!self.line.is_empty()).then(|| String::from_utf8_lossy(&self.line).into_owned())
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.lines.push(String::from_utf8_lossy(&line).into_owned());
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

    fn typed(raw: bool, bytes: &[u8]) -> (Vec<u8>, Vec<String>, bool) {
        let interrupted = CancellationToken::new();
        let mut keyboard = Keyboard::new(raw, interrupted.clone());
        let shown = keyboard.take(bytes).unwrap_or_default();
        let mut all = keyboard.lines();
        all.extend(keyboard.end());
        (shown, all, interrupted.is_cancelled())
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
        assert!(!typed(false, b"\x03").2);
    }

    #[test]
    fn a_program_sends_lines_and_hears_no_echo() {
        assert_eq!(typed(false, b"one\ntwo"), (vec![], vec!["one".to_owned(), "two".to_owned()], false));
    }
}
