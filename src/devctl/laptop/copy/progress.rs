//! How far a copy is, in one line of the terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::super::terminal;

/// As often as somebody reads it.
const EVERY: Duration = Duration::from_millis(250);

pub(super) struct Progress {
    shown: bool,
    /// There is half a line.
    begun: bool,
    name: String,
    size: u64,
    done: u64,
    start: Instant,
    last: Instant,
}

impl Progress {
    /// `wanted`, where there is a terminal.
    pub(super) fn new(wanted: bool) -> Self {
        let now = Instant::now();
        let shown = wanted && std::io::stderr().is_terminal();
        Self { shown, begun: false, name: String::new(), size: 0, done: 0, start: now, last: now }
    }

    pub(super) fn begin(&mut self, name: &str, size: u64) {
        let now = Instant::now();
        *self = Self { name: name.to_owned(), size, done: 0, start: now, last: now, ..*self };
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.shown && self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            self.draw("");
        }
    }

    /// The line of a file stays, as scp has it.
    pub(super) fn end(&mut self) {
        if self.shown {
            self.draw("\n");
            self.begun = false;
        }
    }

    /// Something else is to be said.
    pub(super) fn interrupt(&mut self) {
        if std::mem::take(&mut self.begun) {
            eprintln!();
        }
    }

    fn draw(&mut self, end: &str) {
        self.begun = true;
        let columns = usize::try_from(terminal::size().0).unwrap_or(80);
        let line = line(&self.name, self.size, self.done, self.start.elapsed(), columns);
        let mut stderr = std::io::stderr().lock();
        // Nobody who looks, nothing to see.
        let _ = write!(stderr, "\r{line}{end}").and_then(|()| stderr.flush());
    }
}

/// The name, cut at its front where it is too long, and the figures.
fn line(name: &str, size: u64, done: u64, time: Duration, columns: usize) -> String {
    let percent = match size {
        0 => 100,
        size => (u128::from(done) * 100 / u128::from(size)).min(100),
    };
    let rate = done as f64 / time.as_secs_f64().max(0.001);
    let figures = format!(" {percent:>3}% {:>10} {:>10}/s", amount(done as f64), amount(rate));
    let room = columns.saturating_sub(figures.len() + 1);
    let letters: Vec<char> = name.chars().collect();
    let name: String = match letters.len() > room {
        true => std::iter::once('…').chain(letters[letters.len() - room.saturating_sub(1)..].iter().copied()).collect(),
        false => name.to_owned(),
    };
    format!("{name:<room$}{figures}")
}

fn amount(bytes: f64) -> String {
    let mut amount = bytes;
    for unit in ["B", "KiB", "MiB"] {
        if amount < 1000.0 {
            return format!("{amount:.0} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_the_terminal() {
        let second = Duration::from_secs(1);
        assert_eq!(line("dev:x", 200 << 20, 50 << 20, second, 40), "dev:x       25%     50 MiB     50 MiB/s");
        let long = line(&"long/".repeat(20), 0, 0, second, 40);
        assert_eq!(long.chars().count(), 39);
        assert!(long.starts_with('…') && long.contains("/ 100%"), "{long}");
        assert_eq!([amount(999.0), amount(1_000.0), amount(5e9)], ["999 B", "1 KiB", "4.7 GiB"]);
    }
}
