//! A shell's screen on a terminal of another size. What programs write would mean something else there: a line would
//! not end where it ends, and the last row would be another one. So it is painted row by row, as far as it fits.

use super::screen::{Frame, PLAIN, Screen};
use crate::agent::request::Size;

/// Takes back what a program asked of the mouse, of the keyboard and of the cursor's shape.
const QUIET: &str = "\x1b[?9;1000;1002;1003;1004;1005;1006;1015;1016l\x1b[>4m\x1b[=0u\x1b[0 q";

pub(super) struct Fitted {
    size: Size,
    shown: Option<Frame>,
}

impl Fitted {
    /// For a terminal of `size`, of which nothing is known.
    pub(super) fn new(size: Size) -> Self {
        Self { size, shown: None }
    }

    pub(super) fn is_for(&self, size: Size) -> bool {
        self.size == size
    }

    /// What was sent did not arrive, or something was written over it.
    pub(super) fn forget(&mut self) {
        self.shown = None;
    }

    /// What makes it show what `screen` does; nothing if it does.
    pub(super) fn update(&mut self, screen: &Screen) -> Vec<u8> {
        let frame = screen.frame(self.size);
        let before = self.shown.take();
        let bytes = if before.as_ref() == Some(&frame) { Vec::new() } else { paint(&frame, before.as_ref()) };
        self.shown = Some(frame);
        bytes
    }
}

fn paint(frame: &Frame, before: Option<&Frame>) -> Vec<u8> {
    let mut bytes = String::new();
    if before.is_none() {
        bytes += PLAIN;
        bytes += "\x1b[?1049l";
    }
    let before_here = before.filter(|before| before.full_screen == frame.full_screen);
    if before_here.is_none() {
        bytes += if frame.full_screen { "\x1b[?1049h" } else { "\x1b[?1049l" };
        bytes += "\x1b[m\x1b[2J";
    }
    bytes += "\x1b[?25l\x1b[?7l";
    for (at, row) in frame.rows.iter().enumerate() {
        if before_here.and_then(|before| before.rows.get(at)) != Some(row) {
            bytes += &format!("\x1b[{};1H\x1b[m\x1b[2K{row}", at + 1);
        }
    }
    bytes += "\x1b[m\x1b[?7h";
    if before.is_none_or(|before| before.modes != frame.modes) {
        bytes += QUIET;
        bytes += &frame.modes;
    }
    let (row, column) = frame.cursor;
    bytes += &format!("\x1b[{};{}H", u32::from(row) + 1, u32::from(column) + 1);
    if !frame.cursor_is_hidden {
        bytes += "\x1b[?25h";
    }
    bytes.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(rows: u16, columns: u16) -> vt100::Parser {
        vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0)
    }

    /// What a terminal of `columns` and `rows` shows after each of `outputs` of a program on one of 20 and 4.
    fn shown(rows: u16, columns: u16, outputs: &[&str]) -> vt100::Parser {
        let mut screen = Screen::new(Size { columns: 20, rows: 4 });
        let mut fitted = Fitted::new(Size { columns, rows });
        let mut terminal = terminal(rows, columns);
        for output in outputs {
            screen.process(output.as_bytes());
            terminal.process(&fitted.update(&screen));
            assert!(fitted.update(&screen).is_empty(), "it shows it already");
        }
        terminal
    }

    #[test]
    fn a_larger_terminal_shows_the_same_rows() {
        let long = "a line that is longer than it\r\n";
        let terminal = shown(10, 50, &["one\r\ntwo\r\n", long, "$ \x1b[31mred\x1b[m\x1b[?2004h"]);
        assert_eq!(terminal.screen().contents(), "two\na line that is longe\nr than it\n$ red");
        assert_eq!(terminal.screen().cursor_position(), (3, 5));
        assert_eq!(terminal.screen().cell(3, 2).unwrap().fgcolor(), vt100::Color::Idx(1));
        assert!(terminal.screen().bracketed_paste());
    }

    #[test]
    fn a_smaller_terminal_shows_what_is_around_the_cursor() {
        let terminal = shown(2, 10, &["one\r\ntwo\r\n", "abcdefghijklmno\r\n$ ", "42"]);
        assert_eq!(terminal.screen().contents(), "abcdefghij\n$ 42");
        assert_eq!(terminal.screen().cursor_position(), (1, 4));
    }

    #[test]
    fn only_what_changed_is_painted() {
        let mut screen = Screen::new(Size { columns: 20, rows: 4 });
        let mut fitted = Fitted::new(Size { columns: 30, rows: 9 });
        screen.process(b"one\r\ntwo\r\n");
        fitted.update(&screen);
        screen.process(b"three");
        let painted = String::from_utf8(fitted.update(&screen)).unwrap();
        assert!(painted.contains("three") && !painted.contains("two") && !painted.contains(QUIET), "{painted:?}");
        fitted.forget();
        assert!(String::from_utf8(fitted.update(&screen)).unwrap().contains("two"));
    }

    #[test]
    fn a_program_takes_the_screen_and_gives_it_back() {
        let menu = ["$ menu", "\x1b[?1049h\x1b[2;3Hmenu\x1b[?25l\x1b[?1h\x1b[?1002h"];
        let terminal = shown(9, 30, &menu);
        assert!(terminal.screen().alternate_screen() && terminal.screen().hide_cursor());
        assert_eq!(terminal.screen().contents(), "\n  menu");
        let terminal = shown(9, 30, &[menu[0], menu[1], "\x1b[?1049l\x1b[?25h\x1b[?1l\x1b[?1002l"]);
        assert!(!terminal.screen().alternate_screen() && !terminal.screen().hide_cursor());
        assert!(!terminal.screen().application_cursor());
        assert_eq!(terminal.screen().mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert_eq!(terminal.screen().contents(), "$ menu");
    }
}
