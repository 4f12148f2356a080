//! A line of `ls -l` for a file, which clients show as it is (§7).

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

/// Names of users and groups.
pub(super) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    pub(super) fn load() -> Self {
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    /// Like `-rw-r--r--    1 dev      dev          1024 Jan  2 15:04 name`.
    pub(super) fn line(&self, name: &[u8], metadata: &Metadata) -> Vec<u8> {
        let called = |names: &HashMap<u32, String>, id: u32| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
        let mut line = format!(
            "{} {:>4} {:<8} {:<8} {:>8} {} ",
            mode(metadata.mode()),
            metadata.nlink(),
            called(&self.users, metadata.uid()),
            called(&self.groups, metadata.gid()),
            metadata.size(),
            time(metadata.mtime()),
        )
        .into_bytes();
        line.extend_from_slice(name);
        line
    }
}

/// passwd(5) and group(5) begin alike: name, password, number.
fn read(path: &str) -> HashMap<u32, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(entry).collect()
}

fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// In UTC: the time zone of whoever reads it is unknown. The year stands for the hour of what is older than half a
/// year. Not by `strftime`, which would take a good part of the agent's size.
fn time(seconds: i64) -> String {
    const HALF_A_YEAR: i64 = 182 * 24 * 3600;
    let Ok(time) = jiff::Timestamp::from_second(seconds) else { return "?".to_owned() };
    let age = jiff::Timestamp::now().as_second() - seconds;
    let time = jiff::tz::Offset::UTC.to_datetime(time);
    let month = usize::try_from(time.month()).ok().and_then(|month| MONTHS.get(month - 1)).unwrap_or(&"?");
    let day = time.day();
    if (0..HALF_A_YEAR).contains(&age) {
        format!("{month} {day:>2} {:02}:{:02}", time.hour(), time.minute())
    } else {
        format!("{month} {day:>2}  {:04}", time.year())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_in_ls() {
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o041_777), "drwxrwxrwt");
        assert_eq!(mode(0o104_655), "-rwSr-xr-x");
    }

    #[test]
    fn old_files_show_their_year() {
        assert_eq!(time(0), "Jan  1  1970");
    }
}
