//! The words between the bastion and the agent: what a stream asks for, and what is said on it besides data.

use serde::{Deserialize, Serialize};

/// The first message of a stream.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Request {
    Program(ProgramRequest),
}

/// A program to run as a session's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ProgramRequest {
    pub program: Program,
    /// The terminal to run it on; without one stdin, stdout and stderr are apart.
    pub terminal: Option<Terminal>,
    pub environment: Vec<(String, String)>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Program {
    /// The user's login shell.
    Shell,
    /// A command line for the user's shell.
    Command(String),
    /// The agent's own SFTP server.
    Sftp,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Terminal {
    /// For `TERM`.
    pub term: String,
    pub size: Size,
}

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// What the bastion tells a program.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Order {
    Resize(Size),
    /// The name of a signal without SIG, as in RFC 4254 §6.10.
    Signal(String),
}

/// What the agent tells of a program.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum News {
    Started,
    /// In words for the user. The last.
    NotStarted(String),
    /// The last.
    Exited(Exit),
}

/// How a program ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Exit {
    Code(u32),
    /// A signal's number, and whether the kernel wrote a core file.
    Signal {
        number: u32,
        core_dumped: bool,
    },
}
