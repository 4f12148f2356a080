//! What programs ask of a terminal that the screen's model does not know: kept for terminals that come later, and for
//! nobody's terminal what a program wants to know of it.

use vt100::{Callbacks, Screen};

/// Modes that are off at first, and told of (`CSI ? n h`): a cursor that blinks, focus, the wheel as keys, coordinates
/// of the mouse, light and dark, sizes.
const MODES: [u16; 7] = [12, 1004, 1007, 1015, 1016, 2031, 2048];
/// The one that is on: text goes on in the next row.
const WRAP: u16 = 7;
/// A longer title is shortened.
const MAX_TITLE: usize = 256;
/// What a program asked of the keyboard, and the one within it, and so on: the oldest are forgotten.
const MAX_KEYBOARDS: usize = 8;
/// More questions than these are not answered at once.
const MAX_ANSWERS: usize = 256;

#[derive(Default)]
pub(super) struct Beyond {
    /// Which of [`MODES`] are on.
    modes: [bool; MODES.len()],
    cut: bool,
    title: Vec<u8>,
    /// Flags of kitty's keyboard, on the usual screen and on the alternate one.
    keyboards: [Vec<u16>; 2],
    /// Of xterm's `modifyOtherKeys`.
    other_keys: u16,
    answers: Vec<u8>,
}

impl Beyond {
    /// What asks the same of another terminal, which is as terminals are at first.
    pub(super) fn formatted(&self, full_screen: bool) -> String {
        let mut text = String::new();
        for (mode, _) in MODES.iter().zip(self.modes).filter(|(_, on)| *on) {
            text += &format!("\x1b[?{mode}h");
        }
        if self.cut {
            text += "\x1b[?7l";
        }
        if self.other_keys != 0 {
            text += &format!("\x1b[>4;{}m", self.other_keys);
        }
        if let Some(flags) = self.keyboards[usize::from(full_screen)].last().filter(|flags| **flags != 0) {
            text += &format!("\x1b[={flags}u");
        }
        if !self.title.is_empty() {
            text += &format!("\x1b]2;{}\x07", String::from_utf8_lossy(&self.title));
        }
        text
    }

    /// What a usual terminal would have said to what was asked since.
    pub(super) fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers)
    }

    fn answer(&mut self, answer: &str) {
        if self.answers.len() + answer.len() <= MAX_ANSWERS {
            self.answers.extend_from_slice(answer.as_bytes());
        }
    }

    fn keyboard(&mut self, screen: &Screen, asked: u8, numbers: &[u16]) {
        let keyboards = &mut self.keyboards[usize::from(screen.alternate_screen())];
        let number = numbers.first().copied().unwrap_or(0);
        match asked {
            b'>' => {
                if keyboards.len() == MAX_KEYBOARDS {
                    keyboards.remove(0);
                }
                keyboards.push(number);
            }
            b'<' => keyboards.truncate(keyboards.len().saturating_sub(number.max(1).into())),
            _ => {
                keyboards.pop();
                keyboards.push(number);
            }
        }
    }
}

impl Callbacks for Beyond {
    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        self.title = title.iter().copied().filter(|byte| *byte >= b' ').take(MAX_TITLE).collect();
    }

    fn unhandled_csi(&mut self, screen: &mut Screen, i1: Option<u8>, i2: Option<u8>, params: &[&[u16]], c: char) {
        let numbers: Vec<u16> = params.iter().filter_map(|param| param.first().copied()).collect();
        match (i1, i2, c) {
            (Some(b'?'), None, 'h' | 'l') => {
                for (mode, on) in MODES.iter().zip(&mut self.modes) {
                    if numbers.contains(mode) {
                        *on = c == 'h';
                    }
                }
                if numbers.contains(&WRAP) {
                    self.cut = c == 'l';
                }
            }
            (Some(asked @ (b'<' | b'=' | b'>')), None, 'u') => self.keyboard(screen, asked, &numbers),
            (Some(b'>'), None, 'm') if numbers.first() == Some(&4) => {
                self.other_keys = numbers.get(1).copied().unwrap_or(0);
            }
            // `reset` of a terminal, the soft one.
            (Some(b'!'), None, 'p') => *self = Self { title: std::mem::take(&mut self.title), ..Self::default() },
            (None, None, 'c') => self.answer("\x1b[?1;2c"),
            (None, None, 'n') if numbers == [5] => self.answer("\x1b[0n"),
            (None, None, 'n') if numbers == [6] => {
                let (row, column) = screen.cursor_position();
                self.answer(&format!("\x1b[{};{}R", u32::from(row) + 1, u32::from(column) + 1));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(output: &str) -> vt100::Parser<Beyond> {
        let size = std::num::NonZeroU16::new(20).unwrap();
        let mut parser = vt100::Parser::new_with_callbacks(size, size, 0, Beyond::default());
        parser.process(output.as_bytes());
        parser
    }

    #[test]
    fn what_a_program_asked_is_asked_again() {
        let asked = "\x1b[?7l\x1b[?1004;1016h\x1b[>4;2m\x1b[?1049h\x1b[>1u\x1b[>5u\x1b[<u\x1b]0;vim\x07";
        let parser = seen(asked);
        let formatted = parser.callbacks().formatted(true);
        assert_eq!(formatted, "\x1b[?1004h\x1b[?1016h\x1b[?7l\x1b[>4;2m\x1b[=1u\x1b]2;vim\x07");
        assert_eq!(seen(&formatted).callbacks().formatted(false), formatted, "it means the same");
        let undone = format!("{asked}\x1b[?7h\x1b[?1004;1016l\x1b[>4m\x1b[<u\x1b]2;\x07");
        assert_eq!(seen(&undone).callbacks().formatted(true), "");
    }

    #[test]
    fn what_is_asked_of_nobodys_terminal_is_answered() {
        let mut parser = seen("\r\n\r\nab\x1b[6n\x1b[c\x1b[5n\x1b[?6n");
        assert_eq!(parser.callbacks_mut().take_answers(), b"\x1b[3;3R\x1b[?1;2c\x1b[0n");
        assert!(parser.callbacks_mut().take_answers().is_empty());
        let mut asked = seen(&"\x1b[c".repeat(10_000));
        assert!(asked.callbacks_mut().take_answers().len() <= MAX_ANSWERS);
    }
}
