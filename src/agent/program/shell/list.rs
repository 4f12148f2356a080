//! What a session is told about the shells.

use std::fmt::Write;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::termios::{tcgetpgrp, tcgetwinsize};
use serde::Serialize;
use serde_json::Value;

use super::Shell;
use crate::agent::request::Listing;
use crate::plain::{plain, shortened};

/// Characters of a command line that are told at most.
const COMMAND: usize = 1024;
/// And those that a table has room for.
const SHORT: usize = 60;

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

/// The list, in lines.
pub(super) fn list(shells: &[Entry], listing: Listing) -> String {
    match listing {
        Listing::Table => table(shells, false),
        Listing::Wide => table(shells, true),
        Listing::Json => serde_json::to_string_pretty(shells).unwrap_or_default() + "\n",
        Listing::Yaml => yaml(shells),
        Listing::Name => shells.iter().map(|shell| format!("{}\n", shell.number)).collect(),
    }
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

/// If it is wide, with the number of viewers and whole command lines.
fn table(shells: &[Entry], wide: bool) -> String {
    if shells.is_empty() {
        return "No shells.\n".to_owned();
    }
    let viewers = |text: &str| if wide { format!("{text:<10}") } else { String::new() };
    let mut table = format!("{:<8}{:<18}{:<7}{:<10}{}RUNNING\n", "NUMBER", "STATE", "AGE", "SIZE", viewers("VIEWERS"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for shell in shells {
        let state = match shell.detached_seconds {
            Some(seconds) => format!("Detached {}", age(Duration::from_secs(seconds))),
            None if shell.viewers > 1 => format!("Attached ({})", shell.viewers),
            None => "Attached".to_owned(),
        };
        let began = age(Duration::from_secs(now.saturating_sub(shell.began_seconds)));
        let size = format!("{}x{}", shell.columns, shell.rows);
        let viewers = viewers(&shell.viewers.to_string());
        let running = if wide { shell.running.clone() } else { shortened(&shell.running, SHORT) };
        let _ = writeln!(table, "{:<8}{state:<18}{began:<7}{size:<10}{viewers}{running}", shell.number);
    }
    table
}

/// Numbers and texts as JSON has them are YAML.
fn yaml(shells: &[Entry]) -> String {
    let mut text = String::new();
    for shell in shells {
        let Ok(Value::Object(fields)) = serde_json::to_value(shell) else { continue };
        for (at, (name, value)) in fields.iter().enumerate() {
            let indent = if at == 0 { "- " } else { "  " };
            let _ = writeln!(text, "{indent}{name}: {value}");
        }
    }
    if text.is_empty() { "[]\n".to_owned() } else { text }
}

/// A process's command line as one line.
fn command_line(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    shortened(&plain(line.trim_end_matches('\0')), COMMAND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, viewers: usize, detached_seconds: Option<u64>, running: &str) -> Entry {
        let running = running.to_owned();
        Entry { number, began_seconds: 0, viewers, detached_seconds, columns: 80, rows: 24, running }
    }

    #[test]
    fn a_table_tells_what_is_where() {
        let long = "x".repeat(100);
        let shells = [entry(1, 2, None, "vim a.py"), entry(12, 0, Some(300), &long)];
        let table = list(&shells, Listing::Table);
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NUMBER", "STATE", "AGE", "SIZE", "RUNNING"]);
        assert_eq!(rows[1][..3], ["1", "Attached", "(2)"]);
        assert_eq!(rows[1][4..], ["80x24", "vim", "a.py"]);
        assert_eq!(rows[2][..3], ["12", "Detached", "5m"]);
        assert!(rows[2][5].ends_with("x…"), "{table}");
        let wide = list(&shells, Listing::Wide);
        assert!(wide.contains(&format!(" 0         {long}\n")) && wide.contains("VIEWERS"), "{wide}");
    }

    #[test]
    fn programs_read_json_yaml_or_numbers() {
        let shells = [entry(1, 1, None, "echo \"a: b\""), entry(2, 0, Some(3), "# x")];
        let json: Value = serde_json::from_str(&list(&shells, Listing::Json)).unwrap();
        assert_eq!(json[0]["running"], "echo \"a: b\"");
        let yaml: Value = serde_saphyr::from_str(&list(&shells, Listing::Yaml)).unwrap();
        assert_eq!(yaml, json);
        assert_eq!(list(&shells, Listing::Name), "1\n2\n");
        let none = [Listing::Json, Listing::Yaml, Listing::Name].map(|listing| list(&[], listing));
        assert_eq!(none, ["[]\n", "[]\n", ""]);
    }

    #[test]
    fn ages_are_short() {
        let ages = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
