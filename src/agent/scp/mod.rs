//! The far end of scp's first protocol, which `scp -O` and small clients still speak, on stdin and stdout. OpenSSH's
//! scp is its only definition. A program of the pod finds it as `scp`, after all of the image's own.

mod command_line;
mod sink;
mod source;
mod wire;

pub(super) use command_line::words;

use std::ffi::OsString;
use std::io::{BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::close::close;
use wire::{Failure, Peer};

/// What the program is called when it is this.
pub const SCP: &str = "scp";
/// Of a file, read or written at once, in bytes.
const PIECE: usize = 128 * 1024;

#[derive(Clone, Copy, Default)]
struct Options {
    /// Folders too, with all that is in them.
    recursive: bool,
    /// Keep times and modes.
    preserve: bool,
    /// The target has to be a folder.
    folder: bool,
}

/// What the other scp asks of this one.
#[derive(Default)]
struct Arguments {
    receive: bool,
    send: bool,
    options: Options,
    paths: Vec<PathBuf>,
}

impl Arguments {
    /// None if another scp would not say that.
    fn parse(words: &[OsString]) -> Option<Self> {
        let mut arguments = Self::default();
        let mut words = words.iter();
        for word in words.by_ref() {
            let flags = match word.as_bytes() {
                b"--" => break,
                [b'-', flags @ ..] if !flags.is_empty() => flags,
                _ => {
                    arguments.paths.push(word.into());
                    continue;
                }
            };
            for flag in flags {
                match flag {
                    b't' => arguments.receive = true,
                    b'f' => arguments.send = true,
                    b'r' => arguments.options.recursive = true,
                    b'p' => arguments.options.preserve = true,
                    b'd' => arguments.options.folder = true,
                    b'v' | b'q' => {} // There is no more to tell, and no less.
                    _ => return None,
                }
            }
        }
        arguments.paths.extend(words.map(PathBuf::from));
        (arguments.receive != arguments.send && !arguments.paths.is_empty()).then_some(arguments)
    }
}

/// Runs the command `scp` with `arguments`; returns its exit status.
pub fn scp(arguments: &[OsString], input: impl Read, output: impl Write) -> u8 {
    let Some(Arguments { receive, options, paths, .. }) = Arguments::parse(arguments) else {
        eprintln!("scp: this one only answers another (scp -O); to copy from here, install openssh-client");
        return 1;
    };
    let mut peer = Peer::new(BufReader::with_capacity(PIECE, input), output);
    let served = match (receive, &paths[..]) {
        (true, [target]) => sink::receive(&mut peer, target, options, close),
        (true, _) => Err(Failure::told("ambiguous target")),
        (false, paths) => source::send(&mut peer, paths, options),
    };
    peer.finish(served)
}
