//! The terminal that devctl runs on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::sync::Notify;

use super::failure::{Failure, INTERRUPTED};

/// Whether a program at the other end should see a terminal.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Whether a terminal of this kind has colours, and she wants them.
pub(super) fn shows_colour() -> bool {
    let is = |name: &str, unwanted: fn(&str) -> bool| std::env::var(name).is_ok_and(|value| unwanted(&value));
    !is("NO_COLOR", |value| !value.is_empty()) && !is("TERM", |value| value == "dumb")
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// There is no terminal, or it was closed.
    NoTerminal,
    /// Ctrl-C.
    Interrupted,
}

impl NoAnswer {
    /// What it comes to, if `no_terminal` is what to say where nobody can be asked.
    pub(super) fn failure(self, no_terminal: Failure) -> Failure {
        match self {
            Self::NoTerminal => no_terminal,
            Self::Interrupted => Failure::new("interrupted").status(INTERRUPTED),
        }
    }
}

/// Asks at the terminal, whatever stdin and stdout are.
pub(super) async fn ask(question: &str) -> Result<String, NoAnswer> {
    answer(open()?, question).await
}

/// The same for what nobody should read over her shoulder.
pub(super) async fn ask_secret(question: &str) -> Result<String, NoAnswer> {
    let terminal = open()?;
    let _silent = Silent::enter(terminal.try_clone().map_err(|_| NoAnswer::NoTerminal)?)?;
    answer(terminal, question).await
}

fn open() -> Result<File, NoAnswer> {
    OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| NoAnswer::NoTerminal)
}

async fn answer(terminal: File, question: &str) -> Result<String, NoAnswer> {
    let question = question.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        (&terminal).write_all(question.as_bytes())?;
        let mut line = String::new();
        let read = BufReader::new(&terminal).read_line(&mut line)?;
        io::Result::Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    });
    // From here on Ctrl-C does not end this process by itself any more.
    ASKED.notify_one();
    tokio::select! {
        line = read => line.ok().and_then(Result::ok).flatten().ok_or(NoAnswer::NoTerminal),
        // Else it would end us with the terminal as it is.
        Ok(()) = tokio::signal::ctrl_c() => {
            eprintln!();
            Err(NoAnswer::Interrupted)
        }
    }
}

/// Somebody has been asked something.
static ASKED: Notify = Notify::const_new();

/// Ctrl-C where it has to be heard, as nothing else would end this process: from the first question on.
pub(super) async fn interrupted() {
    ASKED.notified().await;
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// What is typed is not shown, until this is dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn enter(terminal: File) -> Result<Self, NoAnswer> {
        let before = termios::tcgetattr(&terminal).map_err(|_| NoAnswer::NoTerminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        termios::tcsetattr(&terminal, OptionalActions::Drain, &silent).map_err(|_| NoAnswer::NoTerminal)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// How large the terminal is: columns and rows. Stdout may be a file.
pub(super) fn size() -> (u32, u32) {
    let sizes = [termios::tcgetwinsize(io::stdout()), termios::tcgetwinsize(io::stdin())];
    let mut sizes = sizes.into_iter().flatten().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    sizes.next().map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
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
