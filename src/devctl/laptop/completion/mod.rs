//! Completion for shells, with the names of DevServers from the bastion, and of files in them.

mod ask;
mod paths;
mod scripts;

use std::ffi::{OsStr, OsString};

use clap::Command;
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use super::failure::Failure;
use super::print;

/// The variable by which shells' scripts ask.
const ASKED: &str = "COMPLETE";

/// Answers a shell's script, if it is one that asks.
pub(super) fn answer(words: &[OsString]) -> bool {
    if std::env::var_os(ASKED).is_none() {
        return false;
    }
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(command).var(ASKED).try_complete(words, folder.as_deref()).unwrap_or(false)
}

/// What the shell is to read at its start.
pub(super) fn script(shell: Shell) -> Result<u8, Failure> {
    print(&scripts::script(shell)?)
}

/// All verbs; where a name is meant, the bastion is asked for it.
fn command() -> Command {
    with_names(super::command())
}

fn with_names(command: Command) -> Command {
    let verb = command.get_name().to_owned();
    let below: Vec<_> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    // Not `mut_arg`, which would move the argument behind the others.
    let command = command.mut_args(|argument| match meant(&verb, argument.get_id().as_str()) {
        Some(Meant::Name(kind)) => argument.add(ArgValueCompleter::new(move |begun: &OsStr| names(kind, begun))),
        Some(Meant::Path) => argument.add(ArgValueCompleter::new(paths::complete)),
        Some(Meant::File) => argument.add(ArgValueCompleter::new(paths::local)),
        None => argument,
    });
    below.into_iter().fold(command, |command, verb| command.mut_subcommand(verb, with_names))
}

/// What an argument stands for.
enum Meant {
    /// As `devctl complete` calls it.
    Name(&'static str),
    /// Of a file, here or in a DevServer.
    Path,
    /// Of a file here.
    File,
}

/// What the argument `id` of a verb stands for.
fn meant(verb: &str, id: &str) -> Option<Meant> {
    match (verb, id) {
        // A new one has no name yet.
        ("create" | "add", "name") => None,
        // Of `users`.
        ("remove" | "keys", "name") => Some(Meant::Name("users")),
        ("ssh" | "exec" | "forward" | "shells" | "doctor", "name") => Some(Meant::Name("enterable")),
        (_, "name" | "names") => Some(Meant::Name("devservers")),
        (_, "flavor") => Some(Meant::Name("flavors")),
        ("cp", "paths") => Some(Meant::Path),
        (_, "startup_script" | "identity" | "kubeconfig" | "folder") => Some(Meant::File),
        _ => None,
    }
}

fn names(kind: &str, begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let names = ask::names(kind).unwrap_or_default();
    names.lines().filter(|name| name.starts_with(&*begun)).map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_of_both_ends_are_completed() {
        command().debug_assert();
        let command = command();
        for verb in ["login", "doctor", "list", "create", "suspend"] {
            assert!(command.find_subcommand(verb).is_some(), "{verb}");
        }
        // Whoever renames these arguments changes `meant`, too.
        for verb in ["ssh", "exec", "cp", "forward", "suspend", "resume", "delete", "create"] {
            let arguments = command.find_subcommand(verb).unwrap().get_arguments();
            assert!(arguments.into_iter().any(|argument| argument.get::<ArgValueCompleter>().is_some()), "{verb}");
        }
    }
}
