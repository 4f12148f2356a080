//! The pod's binary: one small static file that needs nothing of the image.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bastion::agent;
use clap::{Parser, Subcommand};

/// Runs in a DevServer's pod and does there what an sshd would
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Be the pod's first process: serve, and run COMMAND if there is one
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Serve the bastions that connect
    Serve,
    /// Hand this process's stdin and stdout to the server
    Connect,
    /// Serve SFTP on stdin and stdout
    Sftp,
    /// Copy this program into a folder
    Install { folder: PathBuf },
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().and_then(|path| Path::new(path).file_name());
    if name.is_some_and(|name| name == agent::SCP) {
        return agent::scp(arguments, io::stdin().lock(), io::stdout().lock()).into();
    }
    match run(Arguments::parse_from(arguments).role) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("bastion-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(role: Role) -> io::Result<u8> {
    match role {
        Role::Run { command } => {
            runtime()?.block_on(agent::init(&command)).map(|code| u8::try_from(code).unwrap_or(255))
        }
        Role::Serve => runtime()?.block_on(agent::serve()).map(|()| 0),
        Role::Connect => agent::connect().map(|()| 0),
        Role::Sftp => agent::sftp(io::stdin().lock(), io::stdout().lock()).map(|()| 0),
        Role::Install { folder } => agent::install(&folder).map(|()| 0),
    }
}

/// One thread: the agent shares the pod's cores with its owner's work.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
