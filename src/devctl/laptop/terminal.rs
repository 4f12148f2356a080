//! The terminal that devctl runs on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// Whether a program at the other end should see a terminal.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Asks at the terminal, whatever stdin and stdout are. None: there is no terminal, or no answer.
pub(super) fn ask(question: &str) -> Option<String> {
    answer(&open()?, question)
}

/// The same for what nobody should read over her shoulder.
pub(super) fn ask_secret(question: &str) -> Option<String> {
    let terminal = open()?;
    let modes = termios::tcgetattr(&terminal).ok()?;
    let mut silent = modes.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    termios::tcsetattr(&terminal, OptionalActions::Drain, &silent).ok()?;
    let answer = answer(&terminal, question);
    let _ = termios::tcsetattr(&terminal, OptionalActions::Drain, &modes);
    answer
}

fn open() -> Option<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty").ok()
}

fn answer(mut terminal: &File, question: &str) -> Option<String> {
    terminal.write_all(question.as_bytes()).ok()?;
    let mut line = String::new();
    let read = BufReader::new(terminal).read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

/// How large stdout's terminal is: columns and rows.
pub(super) fn size() -> (u32, u32) {
    match termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Each key goes to the other end as it is, Ctrl-C too, until this is dropped.
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    pub(super) fn enter() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
