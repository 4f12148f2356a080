//! Whether a program fills the screen, as far as its output tells: such programs ask for the alternate screen.

/// What was seen of a terminal's output, which comes in pieces of any size.
#[derive(Default)]
pub(super) struct FullScreen {
    state: State,
    is_shown: bool,
}

/// Within a sequence such as `ESC [ ? 1049 h`.
#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Text,
    Escape,
    Bracket,
    Modes {
        number: u32,
        is_it: bool,
    },
}

const ESCAPE: u8 = 0x1b;

impl FullScreen {
    pub(super) fn is_shown(&self) -> bool {
        self.is_shown
    }

    pub(super) fn see(&mut self, mut output: &[u8]) {
        loop {
            if let State::Text = self.state {
                let Some(begin) = output.iter().position(|byte| *byte == ESCAPE) else { return };
                output = &output[begin..];
            }
            let Some((byte, rest)) = output.split_first() else { return };
            self.state = self.next(*byte);
            output = rest;
        }
    }

    fn next(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (_, ESCAPE) => State::Escape,
            (State::Escape, b'[') => State::Bracket,
            (State::Escape, b'c') => {
                self.is_shown = false; // The terminal is reset.
                State::Text
            }
            (State::Bracket, b'?') => State::Modes { number: 0, is_it: false },
            (State::Modes { number, is_it }, b'0'..=b'9') => {
                let number = number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                State::Modes { number, is_it }
            }
            (State::Modes { number, is_it }, b';') => State::Modes { number: 0, is_it: is_it || is_alternate(number) },
            (State::Modes { number, is_it }, b'h' | b'l') => {
                if is_it || is_alternate(number) {
                    self.is_shown = byte == b'h';
                }
                State::Text
            }
            _ => State::Text,
        }
    }
}

fn is_alternate(mode: u32) -> bool {
    matches!(mode, 47 | 1047 | 1049)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pieces: &[&str]) -> bool {
        let mut screen = FullScreen::default();
        for piece in pieces {
            screen.see(piece.as_bytes());
        }
        screen.is_shown()
    }

    #[test]
    fn a_program_comes_and_goes() {
        assert!(!seen(&["$ ls\r\n\x1b[31mred\x1b[m"]));
        assert!(seen(&["$ vim\r\n\x1b[?1049h\x1b[22;0;0t"]));
        assert!(!seen(&["\x1b[?1049h", "text\x1b[?1049l$ "]));
        assert!(!seen(&["\x1b[?1049h", "\x1bc"]));
        assert!(seen(&["\x1b[?25l\x1b[?25;1047;2004h"]));
        assert!(seen(&["\x1b[?47h\x1b[?25l\x1b[?2004l"]));
    }

    #[test]
    fn a_sequence_may_come_in_pieces() {
        let whole = "a\x1b[?1049hb";
        for at in 0..whole.len() {
            assert!(seen(&[&whole[..at], &whole[at..]]), "{at}");
        }
        assert!(seen(&["\x1b", "\x1b[", "?10", "49", "h"]));
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for other in ["\x1b[1049h", "?1049h", "\x1b[?1049$p", "\x1b[?10490h", "\x1b[? 1049h", "\x1b[?99999999999999h"] {
            assert!(!seen(&[other]), "{other:?}");
        }
    }
}
