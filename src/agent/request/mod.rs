//! The words between the bastion and the agent: what a stream asks for, and what is said on it besides data.

mod listing;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::listing::Listing;
pub use super::usage::Activity;
use super::usage::History;

/// The first message of a stream that the bastion opens. What it asks for is answered with [`Response`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Request {
    Program(ProgramRequest),
    /// About the shells that last; goes on as a program does.
    Shells(ShellsRequest),
    /// To be back in the shell of a session whose carrier was given up; goes on as a program does.
    Return(ReturnRequest),
    /// A connection to make, from within the pod; then the stream's data is the connection's.
    Connect(Address),
    /// To listen in the pod for as long as the stream lasts.
    Listen(Listen),
    /// How the pod is used.
    Activity,
    /// The same, and how it was in the last hour.
    History,
}

/// Why nothing is started any more in a pod that was told to end. The bastion asks the next one.
pub const ENDING: &str = "the pod is not running any longer";

impl Request {
    /// Whether it asks for what nobody has a terminal at, and may be over soon.
    pub(super) fn is_brief(&self) -> bool {
        match self {
            Self::Program(request) => request.terminal.is_none(),
            Self::Shells(request) => request.terminal.is_none(),
            _ => false,
        }
    }
}

/// The first message of a stream that the agent opens: a listener has accepted a connection, whose data is the
/// stream's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Accepted {
    pub listener: u64,
    pub origin: Origin,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Listen {
    pub address: Address,
    /// Its number, unique within the carrier.
    pub listener: u64,
}

/// Where in the pod, or from there.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub enum Address {
    /// A name is resolved in the pod. To listen, as in RFC 4254 §7.1: an empty host are all interfaces, port 0 is any.
    Tcp { host: String, port: u16 },
    /// The path of a socket.
    Unix(String),
}

/// Who connected: an address and a port; empty and 0 for a socket in the file system.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Origin {
    pub host: String,
    pub port: u16,
}

/// A program to run as a session's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ProgramRequest {
    pub program: Program,
    /// The terminal to run it on; without one stdin, stdout and stderr are apart.
    pub terminal: Option<Terminal>,
    pub environment: Vec<(String, String)>,
    /// The number of a listener that stands for the user's ssh-agent, if she forwards hers.
    #[serde(default)]
    pub ssh_agent: Option<u64>,
    /// The display that she forwards, and the number of the listener that stands for it.
    #[serde(default)]
    pub x11: Option<(X11, u64)>,
    /// For how many seconds a shell on a terminal goes on when nobody looks at it; none if it ends with its session.
    #[serde(default)]
    pub detached: Option<u64>,
    /// Whether the session understands [`Response::OutOfMemory`].
    #[serde(default)]
    pub out_of_memory: bool,
    /// Whether it understands [`Response::Ended`].
    #[serde(default)]
    pub ended: bool,
    /// What a session is called that can come back to a shell that lasts. It understands [`Response::Notice`].
    #[serde(default)]
    pub session: Option<String>,
}

impl ProgramRequest {
    /// The terminal and the patience of a shell that outlives its session.
    pub(super) fn lasting_shell(&self) -> Option<(Terminal, Duration)> {
        match (&self.program, &self.terminal, self.detached) {
            (Program::Shell, Some(terminal), Some(seconds)) => Some((terminal.clone(), Duration::from_secs(seconds))),
            _ => None,
        }
    }
}

/// What a session asks about the shells that last.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ShellsRequest {
    pub shells: Shells,
    pub terminal: Option<Terminal>,
    /// As a program's.
    pub ssh_agent: Option<u64>,
    pub x11: Option<(X11, u64)>,
    #[serde(default)]
    pub out_of_memory: bool,
    #[serde(default)]
    pub session: Option<String>,
}

/// A session that is back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReturnRequest {
    /// What it is called. Nobody else can guess it.
    pub session: String,
    pub terminal: Terminal,
    pub read_only: bool,
    /// As a program's.
    pub ssh_agent: Option<u64>,
    pub x11: Option<(X11, u64)>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Shells {
    /// Which there are; after a table, a terminal is asked which to look at.
    List(Listing),
    /// As `List`, for somebody who may only look: so is what is chosen.
    Look(Listing),
    /// To look at one of them.
    Attach { number: u64, mode: Attach },
}

impl Shells {
    /// Whether nothing can be typed, so that it is no use of the DevServer.
    pub fn only_looks(&self) -> bool {
        matches!(self, Self::Look(_) | Self::Attach { mode: Attach::ReadOnly, .. })
    }
}

/// What a session does with a shell that it looks at.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Attach {
    /// Types in it, as others do who look at it.
    Share,
    /// Ends the others' looking.
    TakeOver,
    ReadOnly,
}

/// A display of the user's, as a client asks for it to be forwarded (RFC 4254 §6.3.1).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct X11 {
    /// Whether the first connection is the last.
    pub single_connection: bool,
    /// The name of the way that X clients prove themselves, and the proof, in hexadecimal digits.
    pub protocol: String,
    pub cookie: String,
    pub screen: u32,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Program {
    /// The user's login shell.
    Shell,
    /// A command line for the user's shell.
    Command(String),
    /// The same in another encoding than UTF-8.
    Bytes(Vec<u8>),
    /// The agent's own SFTP server.
    Sftp,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Terminal {
    /// For `TERM`.
    pub term: String,
    pub size: Size,
    /// Opcodes and arguments of RFC 4254 §8.
    #[serde(default)]
    pub modes: Vec<(u8, u32)>,
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
    /// The terminal is to be shown anew, as something else was written over it: a shell that lasts by the agent,
    /// another program by itself.
    Redraw,
    /// The name of a signal without SIG, as in RFC 4254 §6.10.
    Signal(String),
}

/// What the agent tells of what was asked.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Response {
    /// The program runs, or the connection is made.
    Started,
    /// The port that it listens on; 0 for a socket in the file system.
    Listening(u16),
    /// The kernel ended a program of the pod for want of memory. To a terminal while it goes on, and to any session
    /// whose own program it was, before [`Response::Exited`].
    OutOfMemory(OutOfMemory),
    /// What whoever looks at a shell should read, where a full-screen program leaves no row for it.
    Notice(String),
    /// How the pod is used. The last.
    Activity(Activity),
    /// And how it was in the last hour. The last.
    History(History),
    /// How the program ended, while others still hold its output open. Then [`Response::Exited`] is their end.
    Ended(Exit),
    /// In words for the user. The last.
    NotStarted(String),
    /// How the program ended. The last.
    Exited(Exit),
}

/// Of the memory that ran out, in bytes; what is not known is none.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct OutOfMemory {
    pub limit: Option<u64>,
    /// The most that was in use at once since the container began.
    pub peak: Option<u64>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Exit {
    Code(u32),
    /// A signal's number, and whether the kernel wrote a core file.
    Signal {
        number: u32,
        core_dumped: bool,
    },
}
