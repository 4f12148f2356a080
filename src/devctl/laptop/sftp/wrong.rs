//! Why something of a file was not done.

use std::fmt;
use std::io;

use crate::plain::plain;

/// Of one file; but for the last, others may still do.
#[derive(Debug)]
pub(in super::super) enum Wrong {
    Missing,
    Refused(String),
    /// Nobody answers any more.
    Lost,
}

impl Wrong {
    pub(in super::super) fn nonsense() -> Self {
        Self::Refused("the DevServer's answer makes no sense".to_owned())
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => {
                let words = error.to_string();
                Self::Refused(plain(words.split(" (os error").next().unwrap_or(&words)))
            }
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "No such file or directory",
            Self::Refused(words) => words,
            Self::Lost => "the connection was lost",
        })
    }
}
