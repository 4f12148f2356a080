//! What a shell's terminal shows, so that a terminal that comes later can show the same.

use std::fmt;
use std::num::NonZeroU16;

use vt100::capture::{BasicFormattedCaptureState, RowContents};
use vt100::{Callbacks, Parser};

use super::beyond::Beyond;
use crate::agent::request::Size;

/// Lines that are kept of what has scrolled away: a cell takes 32 bytes, so these take a megabyte on a usual terminal.
const SCROLLBACK: usize = 300;
/// A terminal that claims to be larger is shown its corner of this size.
const MAX_ROWS: u16 = 500;
const MAX_COLUMNS: u16 = 1000;

/// Makes a terminal take text as terminals do at first: letters are no lines, none is pushed on, all rows scroll.
pub(super) const PLAIN: &str = "\x1b(B\x0f\x1b[4l\x1b[?6l\x1b[?7h\x1b[r";
/// What resets all of a terminal.
const RESET: &[u8] = b"\x1bc";

pub(super) struct Screen(Parser<Beyond>);

/// What there is to see of it on a terminal of some size.
#[derive(PartialEq)]
pub(super) struct Frame {
    pub(super) full_screen: bool,
    pub(super) rows: Vec<String>,
    /// Row and column, from 0.
    pub(super) cursor: (u16, u16),
    pub(super) cursor_is_hidden: bool,
    pub(super) modes: String,
}

/// What goes over the first row of a screen that is shown to a session.
pub(super) struct Notice {
    pub(super) text: String,
    /// Whether the session's terminal showed nothing of it before.
    pub(super) is_new: bool,
}

impl Notice {
    pub(super) fn over_the_first_row(&self) -> Vec<u8> {
        format!("\x1b7\x1b[1;1H\x1b[7m bastion: {} \x1b[m\x1b[K\x1b8", self.text).into_bytes()
    }
}

impl Screen {
    pub(super) fn new(size: Size) -> Self {
        let (rows, columns) = dimensions(size);
        Self(Parser::new_with_callbacks(rows, columns, SCROLLBACK, Beyond::default()))
    }

    /// Takes what a program wrote.
    pub(super) fn process(&mut self, output: &[u8]) {
        if output.windows(RESET.len()).any(|bytes| bytes == RESET) {
            *self.0.callbacks_mut() = Beyond::default();
        }
        self.0.process(output);
    }

    /// What a terminal would have said to the program by itself.
    pub(super) fn take_answers(&mut self) -> Vec<u8> {
        self.0.callbacks_mut().take_answers()
    }

    pub(super) fn resize(&mut self, size: Size) {
        let (rows, columns) = dimensions(size);
        self.0.set_size(rows, columns);
    }

    pub(super) fn is_full_screen(&self) -> bool {
        self.0.screen().alternate_screen()
    }

    /// What makes any terminal show the same, with what is under a full-screen program, and what has scrolled away if
    /// the notice is new.
    pub(super) fn repaint(&self, notice: &Notice) -> Vec<u8> {
        let mut bytes = if notice.is_new { self.history() } else { Vec::new() };
        bytes.extend(self.anew());
        bytes
    }

    /// What makes a terminal show the same that showed something of it before, it is not known what.
    pub(super) fn anew(&self) -> Vec<u8> {
        // The program that had the alternate screen may have ended meanwhile.
        let mut text = format!("\x1b[?1049l{PLAIN}");
        if self.is_full_screen() {
            text += &self.beneath().screen().contents_formatted();
            text += "\x1b[m\x1b[?1049h";
        }
        text += &self.state();
        text.into_bytes()
    }

    /// What makes a terminal that showed the same show it again.
    pub(super) fn redraw(&self) -> Vec<u8> {
        self.state().into_bytes()
    }

    /// What has scrolled away, and moves out of sight.
    pub(super) fn history(&self) -> Vec<u8> {
        let mut beneath = self.beneath();
        // The model tells of each line that it forgets.
        beneath.process(b"\x1b[3J");
        let mut text = format!("\r{}", beneath.callbacks().0);
        let rows = beneath.screen().size().0;
        text += "\x1b[m\r\n";
        text += &"\r\n".repeat(rows.get().into());
        text.into_bytes()
    }

    /// What a terminal of `size` shows of it: around the cursor, if it is not all.
    pub(super) fn frame(&self, size: Size) -> Frame {
        let screen = self.0.screen();
        let (rows, columns) = screen.size();
        let (height, width) = (rows.get().min(size.rows), columns.get().min(size.columns));
        let (row, column) = screen.cursor_position();
        let above = row.saturating_sub(height.saturating_sub(1));
        // As wide as it is, each row would go on where the one before ended.
        let asked = if width == columns.get() { width.saturating_add(1) } else { width };
        let seen = screen.rows_formatted(0, asked).skip(above.into()).take(height.into());
        let modes = screen.input_mode_formatted() + &self.0.callbacks().formatted(self.is_full_screen());
        Frame {
            full_screen: self.is_full_screen(),
            rows: seen.collect(),
            cursor: (row - above, column.min(width.saturating_sub(1))),
            cursor_is_hidden: screen.hide_cursor(),
            modes,
        }
    }

    fn state(&self) -> String {
        self.0.screen().state_formatted() + &self.0.callbacks().formatted(self.is_full_screen())
    }

    /// A copy that shows the usual screen, also while a program has the alternate one.
    fn beneath(&self) -> Parser<Forgotten> {
        let (rows, columns) = self.0.screen().size();
        let mut copy = Parser::new_with_callbacks(rows, columns, 0, Forgotten::default());
        *copy.screen_mut() = self.0.screen().clone();
        copy.process(b"\x1b[?47l");
        copy
    }
}

/// Lines that a model has forgotten, as text for a terminal.
#[derive(Default)]
struct Forgotten(String);

impl Callbacks for Forgotten {
    fn on_scroll(&mut self, row: RowContents<'_>, _alternate: bool) {
        let mut state = BasicFormattedCaptureState::new();
        let _ = row.write_formatted_basic(&mut self.0, &mut state);
        self.0 += "\x1b[m";
        // A line that went on in the next row goes on, in whatever row there is.
        let mut next = First(None);
        let _ = row.write_formatted_basic(&mut next, &mut state);
        if next.0.is_none_or(|next| next == '\n') {
            self.0 += "\r\n";
        }
    }
}

/// The first character of what is written to it.
struct First(Option<char>);

impl fmt::Write for First {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.or(text.chars().next());
        Err(fmt::Error)
    }
}

fn dimensions(size: Size) -> (NonZeroU16, NonZeroU16) {
    let at_least_one = |n| NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN);
    (at_least_one(size.rows.min(MAX_ROWS)), at_least_one(size.columns.min(MAX_COLUMNS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { columns: 20, rows: 4 };

    fn notice(is_new: bool) -> Notice {
        Notice { text: "NOTICE".to_owned(), is_new }
    }

    /// A shell, with a notice over it.
    fn painted(screen: &Screen, is_new: bool) -> Vec<u8> {
        let notice = notice(is_new);
        [screen.repaint(&notice), notice.over_the_first_row()].concat()
    }

    fn shown(bytes: &[u8]) -> vt100::Parser {
        let (rows, columns) = dimensions(SIZE);
        let mut terminal = vt100::Parser::new(rows, columns, SCROLLBACK);
        terminal.process(bytes);
        terminal
    }

    /// Regression: a sequence was kept whole for the pod's life; a log cut in a hyperlink cost what came after it.
    #[test]
    fn a_sequence_that_never_ends_takes_no_memory() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            size.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
        };
        let text = vec![b'x'; 1 << 20];
        let taken = || {
            let mut screen = Screen::new(SIZE);
            screen.process(b"\x1b]0;");
            let before = resident();
            (0..192).for_each(|_| screen.process(&text));
            resident().saturating_sub(before)
        };
        // Other tests of this process may take some meanwhile, but not time and again.
        assert!((0..5).any(|_| taken() < 96 << 10));
    }

    #[test]
    fn another_terminal_shows_the_same() {
        let mut screen = Screen::new(SIZE);
        for n in 1..=9 {
            screen.process(format!("line {n}\r\n").as_bytes());
        }
        screen.process(b"\x1b[31m$ \x1b[mecho h");
        let mut terminal = shown(&painted(&screen, true));
        assert_eq!(terminal.screen().contents(), " bastion: NOTICE \nline 8\nline 9\n$ echo h");
        assert_eq!(terminal.screen().cursor_position(), (3, 8));
        terminal.screen_mut().set_scrollback(usize::MAX);
        assert_eq!(terminal.screen().contents(), "line 1\nline 2\nline 3\nline 4");
    }

    #[test]
    fn a_terminal_that_missed_the_end_of_a_program_is_back_at_its_shell() {
        let mut screen = Screen::new(SIZE);
        screen.process(b"\r\nbefore\r\n\x1b[?1049h\x1b[2;3Hmenu");
        let mut terminal = shown(b"\r\nbefore\r\n\x1b[?1049h\x1b[2;3Hmenu");
        screen.process(b"\x1b[?1049lafter");
        terminal.process(&painted(&screen, false));
        assert!(!terminal.screen().alternate_screen());
        assert_eq!(terminal.screen().contents(), " bastion: NOTICE \nbefore\nafter");
        terminal.screen_mut().set_scrollback(usize::MAX);
        assert_eq!(terminal.screen().scrollback(), 0, "what it has seen is not written again");
    }

    #[test]
    fn a_boundless_terminal_takes_bounded_memory() {
        let mut screen = Screen::new(Size { columns: u16::MAX, rows: 0 });
        screen.resize(Size { columns: 0, rows: u16::MAX });
        assert_eq!(screen.0.screen().size(), dimensions(Size { columns: 1, rows: MAX_ROWS }));
    }

    #[test]
    fn a_full_screen_program_is_repainted_as_it_is() {
        let mut screen = Screen::new(SIZE);
        screen.process(b"before\r\n\x1b[?1049h\x1b[2;3Hmenu\x1b[?25l");
        let terminal = shown(&screen.repaint(&notice(true)));
        assert!(terminal.screen().alternate_screen() && terminal.screen().hide_cursor());
        assert_eq!(terminal.screen().contents(), "\n  menu");
    }

    #[test]
    fn what_is_under_a_full_screen_program_comes_with_it() {
        let mut screen = Screen::new(SIZE);
        for n in 1..=9 {
            screen.process(format!("line {n}\r\n").as_bytes());
        }
        screen.process(b"$ menu\r\n\x1b[?1049h\x1b[2;3Hmenu\x1b[7m");
        for notice in [notice(true), notice(false)] {
            let mut terminal = shown(&screen.repaint(&notice));
            assert_eq!(terminal.screen().contents(), "\n  menu");
            terminal.process(b"\x1b[?1049l");
            assert_eq!(terminal.screen().contents(), "line 8\nline 9\n$ menu");
            assert_eq!(terminal.screen().cursor_position(), (3, 0));
            assert!(!terminal.screen().inverse(), "the program's colours are its own");
            terminal.screen_mut().set_scrollback(usize::MAX);
            let history = terminal.screen().contents();
            assert_eq!(history.starts_with("line 1\nline 2\nline 3\nline 4"), notice.is_new, "{history}");
        }
    }

    #[test]
    fn a_line_of_the_history_is_as_long_as_it_was() {
        let mut screen = Screen::new(SIZE);
        screen.process(b"a line that is longer than the screen\r\n\x1b[41mred\x1b[m\r\n\r\n\r\n\r\n\r\n\r\n$ ");
        let (rows, columns) = dimensions(Size { columns: 50, ..SIZE });
        let mut terminal = vt100::Parser::new(rows, columns, SCROLLBACK);
        terminal.process(&screen.repaint(&notice(true)));
        terminal.screen_mut().set_scrollback(usize::MAX);
        assert_eq!(terminal.screen().contents(), "a line that is longer than the screen\nred");
        assert_eq!(terminal.screen().cell(1, 10).unwrap().bgcolor(), vt100::Color::Default);
    }

    #[test]
    fn who_looks_at_the_history_does_not_make_it_larger() {
        let mut screen = Screen::new(Size { columns: 200, rows: 4 });
        screen.process("short\r\n".repeat(300).as_bytes());
        let before = format!("{:?}", screen.0.screen()).len();
        screen.repaint(&notice(true));
        assert_eq!(format!("{:?}", screen.0.screen()).len(), before);
    }

    #[test]
    fn what_a_terminal_showed_before_stays_above() {
        let mut screen = Screen::new(SIZE);
        screen.process(b"line 1\r\nline 2\r\n");
        let mut terminal = shown(b"laptop\r\nssh alice@bastion\r\n");
        terminal.process(&screen.repaint(&notice(true)));
        terminal.screen_mut().set_scrollback(usize::MAX);
        assert!(terminal.screen().contents().starts_with("laptop\nssh alice@bastion"));
    }

    #[test]
    fn modes_that_the_model_does_not_know_come_with_it() {
        let mut screen = Screen::new(SIZE);
        screen.process(b"\x1b[?1004h\x1b[>4;2m");
        let repainted = String::from_utf8(screen.repaint(&notice(true))).unwrap();
        assert!(repainted.contains("\x1b[?1004h") && repainted.contains("\x1b[>4;2m"));
        screen.process(b"\x1bc");
        assert!(!String::from_utf8(screen.repaint(&notice(true))).unwrap().contains("\x1b[?1004h"));
    }
}
