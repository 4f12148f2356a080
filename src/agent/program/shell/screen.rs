//! What a shell's terminal shows, so that a terminal that comes later can show the same.

use std::num::NonZeroU16;

use crate::agent::request::Size;

/// Lines that are kept of what has scrolled away: a cell takes 32 bytes, so these take a megabyte on a usual terminal.
const SCROLLBACK: usize = 300;
/// A terminal that claims to be larger is shown its corner of this size.
const MAX_ROWS: u16 = 500;
const MAX_COLUMNS: u16 = 1000;

pub(super) struct Screen(vt100::Parser);

/// What goes over the first row of a screen that is shown to a session.
pub(super) struct Notice {
    pub(super) text: String,
    /// Whether the session's terminal showed nothing of it before.
    pub(super) is_new: bool,
}

impl Screen {
    pub(super) fn new(size: Size) -> Self {
        let (rows, columns) = dimensions(size);
        Self(vt100::Parser::new(rows, columns, SCROLLBACK))
    }

    /// Takes what a program wrote.
    pub(super) fn process(&mut self, output: &[u8]) {
        self.0.process(output);
    }

    pub(super) fn resize(&mut self, size: Size) {
        let (rows, columns) = dimensions(size);
        self.0.set_size(rows, columns);
    }

    /// What makes any terminal show the same, with `notice` over its first row unless a full-screen program has it.
    pub(super) fn repaint(&mut self, notice: &Notice) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Notice { text, is_new } = notice;
        let full_screen = self.is_full_screen();
        match (full_screen, is_new) {
            (true, _) => bytes.extend_from_slice(b"\x1b[?1049h"),
            (false, true) => self.scroll_away(&mut bytes),
            // The program that had it may have ended meanwhile.
            (false, false) => bytes.extend_from_slice(b"\x1b[?1049l"),
        }
        bytes.extend_from_slice(self.0.screen().state_formatted().as_bytes());
        if !full_screen {
            bytes.extend_from_slice(format!("\x1b7\x1b[1;1H\x1b[7m bastion: {text} \x1b[m\x1b[K\x1b8").as_bytes());
        }
        bytes
    }

    pub(super) fn is_full_screen(&self) -> bool {
        self.0.screen().alternate_screen()
    }

    /// What makes a terminal that showed the same show it again.
    pub(super) fn redraw(&mut self) -> Vec<u8> {
        self.0.screen().state_formatted().as_bytes().to_vec()
    }

    /// Writes what has scrolled away, and moves it out of sight.
    fn scroll_away(&mut self, bytes: &mut Vec<u8>) {
        let screen = self.0.screen_mut();
        let (rows, columns) = screen.size();
        for line in (1..=screen.scrollback_len()).rev() {
            screen.set_scrollback(line);
            if let Some(row) = screen.rows_formatted(0, columns.get()).next() {
                bytes.extend_from_slice(row.as_ref());
            }
            bytes.extend_from_slice(b"\x1b[m\r\n");
        }
        screen.set_scrollback(0);
        bytes.extend(b"\r\n".repeat(rows.get().into()));
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

    fn shown(bytes: &[u8]) -> vt100::Parser {
        let (rows, columns) = dimensions(SIZE);
        let mut terminal = vt100::Parser::new(rows, columns, SCROLLBACK);
        terminal.process(bytes);
        terminal
    }

    /// It was kept whole, and its room for the pod's life: a log that was cut in a hyperlink cost what came after it.
    #[test]
    fn a_sequence_that_never_ends_takes_no_memory() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            size.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
        };
        let mut screen = Screen::new(SIZE);
        let text = vec![b'x'; 1 << 20];
        screen.process(b"\x1b]0;");
        let before = resident();
        (0..192).for_each(|_| screen.process(&text));
        let taken = resident().saturating_sub(before);
        assert!(taken < 96 << 10, "{taken} kB");
    }

    #[test]
    fn another_terminal_shows_the_same() {
        let mut screen = Screen::new(SIZE);
        for n in 1..=9 {
            screen.process(format!("line {n}\r\n").as_bytes());
        }
        screen.process(b"\x1b[31m$ \x1b[mecho h");
        let mut terminal = shown(&screen.repaint(&notice(true)));
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
        terminal.process(&screen.repaint(&notice(false)));
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
}
