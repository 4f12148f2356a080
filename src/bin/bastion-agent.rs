//! The pod's binary: one small static file that needs nothing of the image.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use bastion::agent;

const USAGE: &str = "\
Runs in a DevServer's pod and does there what an sshd would

usage: bastion-agent run [--] [COMMAND...]   be the pod's first process: serve, and run COMMAND if there is one
       bastion-agent serve                   serve the bastions that connect
       bastion-agent connect                 hand this process's stdin and stdout to the server
       bastion-agent started                 wait until the startup script is over
       bastion-agent sftp                    serve SFTP on stdin and stdout
       bastion-agent install FOLDER          copy this program into a folder";

/// Other programs start this one, with words that never change: a parser of command lines would be a tenth of its size.
fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (name, arguments) = match arguments.split_first() {
        Some((name, arguments)) => (Path::new(name).file_name(), arguments),
        None => (None, &[][..]),
    };
    if name.is_some_and(|name| name == agent::SCP) {
        return exit(stdout().map(|stdout| agent::scp(arguments, io::stdin().lock(), stdout)));
    }
    let (role, rest) = match arguments.split_first() {
        Some((role, rest)) => (role.to_str(), rest),
        None => (None, &[][..]),
    };
    let done = match (role, rest) {
        (Some("run"), [dashes, command @ ..]) if dashes == "--" => run(command),
        (Some("run"), command) => run(command),
        (Some("serve"), []) => runtime().and_then(|runtime| runtime.block_on(agent::serve())).map(|()| 0),
        (Some("connect"), []) => agent::connect().map(|()| 0),
        (Some("started"), []) => agent::started().map(|ready| u8::from(!ready)),
        (Some("sftp"), []) => stdout().and_then(|stdout| agent::sftp(io::stdin().lock(), stdout)).map(|()| 0),
        (Some("install"), [folder]) => agent::install(Path::new(folder)).map(|()| 0),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    exit(done)
}

fn exit(done: io::Result<u8>) -> ExitCode {
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("bastion-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &[OsString]) -> io::Result<u8> {
    runtime()?.block_on(agent::init(command)).map(|code| u8::try_from(code).unwrap_or(255))
}

/// As the standard library has it, stdout is written line by line, and a file's bytes have lines too.
fn stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// One thread: the agent shares the pod's cores with its owner's work.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
