//! The far end of scp's first protocol, which `scp -O` and small clients still speak, on stdin and stdout. OpenSSH's scp
//! is its only definition. A program of the pod finds it as `scp`, after all of the image's own.

mod sink;
mod source;
mod wire;
mod words;

pub(super) use words::words;

use std::ffi::OsString;
use std::io::{BufReader, Read, Write};
use std::path::PathBuf;

use clap::Parser;

use wire::{Failure, Peer};

/// What the program is called when it is this.
pub const SCP: &str = "scp";
/// Of a file, read or written at once, in bytes.
const PIECE: usize = 128 * 1024;

/// Answers the scp at the other end of an SSH session
#[derive(Parser)]
#[command(name = SCP)]
struct Arguments {
    /// Receive files
    #[arg(short = 't', conflicts_with = "send", required_unless_present = "send")]
    receive: bool,
    /// Send files
    #[arg(short = 'f')]
    send: bool,
    #[command(flatten)]
    options: Options,
    /// Nothing: there is no more to tell
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Nothing: there is no less to tell
    #[arg(short, action = clap::ArgAction::Count)]
    quiet: u8,
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

#[derive(clap::Args, Clone, Copy, Default)]
struct Options {
    /// Folders too, with all that is in them
    #[arg(short)]
    recursive: bool,
    /// Keep times and modes
    #[arg(short)]
    preserve: bool,
    /// The target has to be a folder
    #[arg(short = 'd')]
    folder: bool,
}

/// Runs the command `scp` with `arguments`, the first being its name; returns its exit status.
pub fn scp(arguments: impl IntoIterator<Item = OsString>, input: impl Read, output: impl Write) -> u8 {
    let Arguments { receive, options, paths, .. } = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!(
                "{error}\nThis scp only answers another one (scp -O); to copy from here, install openssh-client."
            );
            return 1;
        }
    };
    let mut peer = Peer::new(BufReader::with_capacity(PIECE, input), output);
    let served = match (receive, &paths[..]) {
        (true, [target]) => sink::receive(&mut peer, target, options),
        (true, _) => Err(Failure::told("ambiguous target")),
        (false, paths) => source::send(&mut peer, paths, options),
    };
    peer.finish(served)
}
