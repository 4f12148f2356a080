//! What a session is told about the shells, and on a terminal the choice of one.

use std::fmt::Write;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::termios::{tcgetpgrp, tcgetwinsize};
use serde::Serialize;

use super::Shell;
use crate::agent::request::{Attach, Exit, News, Order, Shells, Terminal};
use crate::carrier::{Message, Sender, Stream, parse};

/// Columns of a command line that are shown.
const COMMAND: usize = 60;
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: [u8; 2] = [8, 127];

/// What is known of a shell; its fields are those of the JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    number: u64,
    /// Since the start of 1970.
    began_seconds: u64,
    viewers: usize,
    /// Since nobody looks at it.
    detached_seconds: Option<u64>,
    columns: u16,
    rows: u16,
    /// The command line in the foreground.
    running: String,
}

/// What comes of what a session asked.
pub(super) enum Choice {
    Attach {
        number: u64,
        mode: Attach,
    },
    /// It was answered.
    Nothing,
}

impl Entry {
    pub(super) fn of(shell: &Shell) -> Self {
        let size = tcgetwinsize(&shell.terminal).ok();
        let foreground = tcgetpgrp(shell.terminal.as_fd()).unwrap_or(shell.group);
        Self {
            number: shell.number,
            began_seconds: shell.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            viewers: shell.viewers(),
            detached_seconds: shell.detached.borrow().map(|since| since.elapsed().as_secs()),
            columns: size.map_or(0, |size| size.ws_col),
            rows: size.map_or(0, |size| size.ws_row),
            running: command_line(foreground.as_raw_nonzero().get()),
        }
    }
}

/// Answers what a session asks; a terminal that is shown a list is asked for a choice.
pub(super) async fn choose(
    asked: Shells,
    shells: &[Entry],
    terminal: &mut Option<Terminal>,
    stream: &mut Stream,
) -> Choice {
    let (json, mode) = match asked {
        Shells::Attach { number, mode } => return Choice::Attach { number, mode },
        Shells::List { json } => (json, Attach::Share),
        Shells::Look { json } => (json, Attach::ReadOnly),
    };
    let text = match json {
        true => serde_json::to_string_pretty(shells).unwrap_or_default() + "\n",
        false => table(shells),
    };
    let chosen = match terminal {
        Some(_) if !json && !shells.is_empty() => {
            let question = format!("{text}\nNumber of the one to attach to (Enter: none): ").replace('\n', "\r\n");
            let _ = stream.sender.data(question.into()).await;
            let number = ask(terminal, stream).await;
            let _ = stream.sender.data("\r\n".into()).await;
            number
        }
        _ => {
            let text = if terminal.is_some() { text.replace('\n', "\r\n") } else { text };
            let _ = stream.sender.data(text.into()).await;
            None
        }
    };
    match chosen {
        Some(number) => Choice::Attach { number, mode },
        None => {
            let _ = stream.sender.send(Message::control(&News::Exited(Exit::Code(0))));
            Choice::Nothing
        }
    }
}

/// Says why there is nothing to look at.
pub(super) async fn refuse(why: &str, sender: &Sender) {
    let _ = sender.stderr(format!("bastion: {why}\r\n").into()).await;
    let _ = sender.send(Message::control(&News::Exited(Exit::Code(1))));
}

/// How long ago, as kubectl has it.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn table(shells: &[Entry]) -> String {
    if shells.is_empty() {
        return "No shells.\n".to_owned();
    }
    let mut table = format!("{:<8}{:<18}{:<7}{:<10}RUNNING\n", "NUMBER", "STATE", "AGE", "SIZE");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for shell in shells {
        let state = match shell.detached_seconds {
            Some(seconds) => format!("Detached {}", age(Duration::from_secs(seconds))),
            None if shell.viewers > 1 => format!("Attached ({})", shell.viewers),
            None => "Attached".to_owned(),
        };
        let began = age(Duration::from_secs(now.saturating_sub(shell.began_seconds)));
        let size = format!("{}x{}", shell.columns, shell.rows);
        let _ = writeln!(table, "{:<8}{state:<18}{began:<7}{size:<10}{}", shell.number, shell.running);
    }
    table
}

/// The number that is typed; none if none is.
async fn ask(terminal: &mut Option<Terminal>, stream: &mut Stream) -> Option<u64> {
    const DIGITS: usize = 9;
    let mut typed = String::new();
    while let Some((message, _credit)) = stream.receiver.receive().await {
        let bytes = match message {
            Message::Data(bytes) => bytes,
            Message::Control(order) => {
                if let (Ok(Order::Resize(size)), Some(terminal)) = (parse(&order), terminal.as_mut()) {
                    terminal.size = size;
                }
                continue;
            }
            _ => return None,
        };
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => return typed.parse().ok(),
                CTRL_C | CTRL_D => return None,
                b'0'..=b'9' if typed.len() < DIGITS => {
                    typed.push(byte.into());
                    let _ = stream.sender.data(vec![byte].into()).await;
                }
                _ if BACKSPACE.contains(&byte) && typed.pop().is_some() => {
                    let _ = stream.sender.data("\x08 \x08".into()).await;
                }
                _ => {}
            }
        }
    }
    None
}

/// A process's command line as one short line.
fn command_line(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let line: String = line.trim_end_matches('\0').chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_tells_what_is_where() {
        let entry = |number, viewers, detached_seconds| Entry {
            number,
            began_seconds: 0,
            viewers,
            detached_seconds,
            columns: 80,
            rows: 24,
            running: "vim a.py".to_owned(),
        };
        let table = table(&[entry(1, 2, None), entry(12, 0, Some(300))]);
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NUMBER", "STATE", "AGE", "SIZE", "RUNNING"]);
        assert_eq!(rows[1][..3], ["1", "Attached", "(2)"]);
        assert_eq!(rows[2][..3], ["12", "Detached", "5m"]);
        assert_eq!(rows[2][4..], ["80x24", "vim", "a.py"]);
    }

    #[test]
    fn ages_are_short() {
        let ages = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
