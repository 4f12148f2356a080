//! What the two ends say to each other: records, and a byte in answer to each.

use std::ffi::OsString;
use std::fs::FileTimes;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, SystemTime};

use crate::plain::plain;

/// Bytes of the longest record: a kernel takes no longer path.
const MAX_LINE: u64 = 4096;

const GOOD: u8 = 0;
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// The other end.
pub(super) struct Peer<R, W> {
    pub(super) input: R,
    pub(super) output: W,
    /// Something was not copied, on either side.
    failed: bool,
}

/// What is about to come.
#[derive(Debug, PartialEq)]
pub(super) enum Record {
    File {
        mode: u32,
        size: u64,
        name: OsString,
    },
    Folder {
        mode: u32,
        name: OsString,
    },
    EndOfFolder,
    /// Of the file or folder that is next.
    Times(Times),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Times {
    pub(super) modified: SystemTime,
    pub(super) accessed: SystemTime,
}

/// Why a session cannot go on.
#[derive(Debug)]
pub(super) enum Failure {
    /// For the other end to read.
    Told(String),
    /// It knows by itself, or is gone.
    Known,
}

impl Failure {
    pub(super) fn told(why: impl Into<String>) -> Self {
        Self::Told(why.into())
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Known
    }
}

impl<R: BufRead, W: Write> Peer<R, W> {
    pub(super) fn new(input: R, output: W) -> Self {
        Self { input, output, failed: false }
    }

    /// Tells why it ended, where somebody may listen; returns the exit status.
    pub(super) fn finish(mut self, served: Result<(), Failure>) -> u8 {
        match served {
            Ok(()) => u8::from(self.failed),
            Err(Failure::Told(why)) => {
                let _ = self.say(FATAL, &why);
                1
            }
            Err(Failure::Known) => 1,
        }
    }

    /// The next record; none at the end.
    pub(super) fn record(&mut self) -> Result<Option<Record>, Failure> {
        loop {
            let Some(kind) = self.byte()? else { return Ok(None) };
            if !self.is_word(kind)? {
                let line = self.line()?;
                return Record::parse(kind, &line)
                    .map(Some)
                    .map_err(|why| Failure::Told(format!("protocol error: {why}")));
            }
        }
    }

    /// Whether the other end agrees. If not it has said why, and it is a warning.
    pub(super) fn agrees(&mut self) -> Result<bool, Failure> {
        match self.byte()? {
            Some(GOOD) => Ok(true),
            Some(word) if self.is_word(word)? => Ok(false),
            Some(_) => Err(Failure::told("protocol error: unexpected answer")),
            None => Err(Failure::Known),
        }
    }

    pub(super) fn agree(&mut self) -> Result<(), Failure> {
        self.output.write_all(&[GOOD])?;
        Ok(self.output.flush()?)
    }

    /// Says that something is not copied; the rest may be.
    pub(super) fn warn(&mut self, why: &str) -> Result<(), Failure> {
        self.failed = true;
        Ok(self.say(WARNING, why)?)
    }

    /// Sends a record; whether the other end agrees.
    pub(super) fn tell(&mut self, line: &[u8]) -> Result<bool, Failure> {
        self.output.write_all(line)?;
        self.output.flush()?;
        self.agrees()
    }

    /// Takes the words that follow if `byte` announces some; the person at the other end has read them.
    fn is_word(&mut self, byte: u8) -> Result<bool, Failure> {
        if !matches!(byte, WARNING | FATAL) {
            return Ok(false);
        }
        self.failed = true;
        self.line()?;
        if byte == FATAL { Err(Failure::Known) } else { Ok(true) }
    }

    fn say(&mut self, kind: u8, why: &str) -> io::Result<()> {
        self.output.write_all(&[&[kind], &b"scp: "[..], plain(why).as_bytes(), b"\n"].concat())?;
        self.output.flush()
    }

    fn byte(&mut self) -> Result<Option<u8>, Failure> {
        let mut byte = [0];
        Ok((self.input.read(&mut byte)? > 0).then_some(byte[0]))
    }

    /// Up to the line's end, which it is without.
    fn line(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ if line.len() + 1 == MAX_LINE as usize => Err(Failure::told("protocol error: line too long")),
            _ => Err(Failure::Known),
        }
    }
}

impl Record {
    fn parse(kind: u8, line: &[u8]) -> Result<Self, &'static str> {
        match kind {
            b'E' if line.is_empty() => Ok(Self::EndOfFolder),
            b'T' => Ok(Self::Times(Times::parse(line)?)),
            b'C' | b'D' => {
                let mut words = line.splitn(3, |&byte| byte == b' ');
                let mut word = || words.next().unwrap_or_default();
                let mode = octal(word()).ok_or("invalid mode")?;
                let size = decimal(word()).filter(|&size| i64::try_from(size).is_ok()).ok_or("invalid size")?;
                let name = word();
                if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
                    return Err("unexpected file name");
                }
                let name = OsString::from_vec(name.to_vec());
                Ok(if kind == b'C' { Self::File { mode, size, name } } else { Self::Folder { mode, name } })
            }
            _ => Err("unknown record"),
        }
    }
}

impl Times {
    /// Two pairs of seconds and microseconds: when it was changed, when it was read.
    fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let mut numbers = line.split(|&byte| byte == b' ').map(decimal);
        let mut time = || {
            let (seconds, micros) = (numbers.next()??, numbers.next()??);
            let micros = u32::try_from(micros).ok().filter(|&micros| micros < 1_000_000)?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, micros * 1000))
        };
        let times = time().zip(time()).ok_or("invalid times")?;
        Ok(Self { modified: times.0, accessed: times.1 })
    }
}

impl From<Times> for FileTimes {
    fn from(times: Times) -> Self {
        Self::new().set_modified(times.modified).set_accessed(times.accessed)
    }
}

fn octal(word: &[u8]) -> Option<u32> {
    let digits = word.len() == 4 && word.iter().all(|byte| (b'0'..=b'7').contains(byte));
    digits.then(|| word.iter().fold(0, |mode, digit| mode << 3 | u32::from(digit - b'0')))
}

fn decimal(word: &[u8]) -> Option<u64> {
    let digits = word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: &[u8]) -> Result<Option<Record>, Option<String>> {
        Peer::new(bytes, Vec::new()).record().map_err(|failure| match failure {
            Failure::Told(why) => Some(why),
            Failure::Known => None,
        })
    }

    #[test]
    fn records_are_read() {
        let file = Record::File { mode: 0o644, size: 5 << 32, name: "two words".into() };
        assert_eq!(record(b"C0644 21474836480 two words\n"), Ok(Some(file)));
        assert_eq!(record(b"D2755 0 d\n"), Ok(Some(Record::Folder { mode: 0o2755, name: "d".into() })));
        assert_eq!(record(b"E\n"), Ok(Some(Record::EndOfFolder)));
        assert_eq!(record(b""), Ok(None));
        let at = |seconds, micros: u32| SystemTime::UNIX_EPOCH + Duration::new(seconds, micros * 1000);
        let times = Times { modified: at(5_000_000_000, 7), accessed: at(1, 0) };
        assert_eq!(record(b"T5000000000 7 1 0\n"), Ok(Some(Record::Times(times))));
        assert_eq!(record(b"\x01scp: a warning\nE\n"), Ok(Some(Record::EndOfFolder)));
    }

    #[test]
    fn what_is_no_record_ends_the_session() {
        let lines: [&[u8]; 20] = [
            b"C0644 12a f\n",
            b"C0644 -1 f\n",
            b"C0644 +1 f\n",
            b"C0644  f\n",
            b"C0644 9223372036854775808 f\n",
            b"C0644 99999999999999999999999 f\n",
            b"C0888 1 f\n",
            b"C644 1 f\n",
            b"C+644 1 f\n",
            b"C0644 1 ../f\n",
            b"C0644 1 /f\n",
            b"C0644 1 ..\n",
            b"C0644 1 .\n",
            b"C0644 1 \n",
            b"D0755 0 ..\n",
            b"T1 0 1\n",
            b"T1 1000000 1 0\n",
            b"T18446744073709551615 0 1 0\n",
            b"Exit\n",
            b"rm -rf\n",
        ];
        for line in lines {
            assert!(matches!(record(line), Err(Some(_))), "{}", String::from_utf8_lossy(line));
        }
        let endless = record(&b"C".repeat(1 << 20));
        assert_eq!(endless, Err(Some("protocol error: line too long".to_owned())));
    }

    #[test]
    fn a_peer_that_is_gone_is_told_nothing() {
        for bytes in [&b"C0644 1"[..], b"\x02fatal\nE\n", b"\x01half a wa"] {
            assert_eq!(record(bytes), Err(None));
        }
    }

    #[test]
    fn a_warning_is_no_end_and_no_success() {
        let mut peer = Peer::new(&b"\x01no\n\0x"[..], Vec::new());
        assert!(matches!(peer.agrees(), Ok(false)));
        assert!(matches!(peer.agrees(), Ok(true)));
        assert!(matches!(peer.agrees(), Err(Failure::Told(_))));
        assert_eq!(peer.finish(Ok(())), 1);
    }

    #[test]
    fn words_stay_on_their_line() {
        let mut peer = Peer::new(&b""[..], Vec::new());
        assert!(peer.warn("a\nC0644 b").is_ok());
        assert_eq!(peer.output, b"\x01scp: a C0644 b\n");
    }
}
