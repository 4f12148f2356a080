//! Completion for shells, with the names of DevServers from the bastion, and of files in them.

mod ask;
mod paths;
mod scripts;

use std::ffi::{OsStr, OsString};

use clap::Command;
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use super::arguments::of_cluster;
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
    let of_bastion = !names_a_cluster(words);
    CompleteEnv::with_factory(|| command(of_bastion)).var(ASKED).try_complete(words, folder.as_deref()).unwrap_or(false)
}

/// What the shell is to read at its start.
pub(super) fn script(shell: Shell) -> Result<u8, Failure> {
    print(&scripts::script(shell)?)
}

/// Whether the line that is completed asks a cluster: the bastion's names are not meant then. The script's own words
/// come first, up to `--`.
fn names_a_cluster(words: &[OsString]) -> bool {
    let line = words.iter().skip_while(|word| *word != "--").skip(1);
    let mut options = line.take_while(|word| *word != "--").map(|word| word.to_string_lossy());
    options.any(|word| of_cluster(&word).is_some())
}

/// All verbs; where a name is meant, the bastion is asked for it, unless it is another's.
fn command(of_bastion: bool) -> Command {
    with_names(super::command(), of_bastion)
}

fn with_names(command: Command, of_bastion: bool) -> Command {
    let verb = command.get_name().to_owned();
    let below: Vec<_> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    // Not `mut_arg`, which would move the argument behind the others.
    let command = command.mut_args(|argument| match meant(&verb, argument.get_id().as_str()) {
        Some(Meant::Name(_)) if !of_bastion => argument,
        Some(Meant::Path) if !of_bastion => argument.add(ArgValueCompleter::new(paths::local)),
        Some(Meant::Name(kind)) => argument.add(ArgValueCompleter::new(move |begun: &OsStr| names(kind, begun))),
        Some(Meant::Path) => argument.add(ArgValueCompleter::new(paths::complete)),
        Some(Meant::File) => argument.add(ArgValueCompleter::new(paths::local)),
        None => argument,
    });
    below.into_iter().fold(command, |command, verb| command.mut_subcommand(verb, |verb| with_names(verb, of_bastion)))
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
        ("share", "users") => Some(Meant::Name("people")),
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
    fn nobody_is_asked_for_the_names_of_another_cluster() {
        let is_of_cluster = |line: &str| names_a_cluster(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(is_of_cluster("devctl -- devctl --kubeconfig kc delete d"));
        assert!(is_of_cluster("devctl -- devctl -ndev-alice delete d"));
        assert!(
            is_of_cluster("devctl -- devctl delete -n dev-alice d") && is_of_cluster("devctl -- devctl --context=a x")
        );
        assert!(!is_of_cluster("devctl -- devctl delete d") && !is_of_cluster("devctl -- devctl exec x -- ls -n"));
        let command = command(false);
        for verb in ["delete", "ssh"] {
            let mut arguments = command.find_subcommand(verb).unwrap().get_arguments();
            assert!(arguments.all(|argument| argument.get::<ArgValueCompleter>().is_none()), "{verb}");
        }
    }

    #[test]
    fn verbs_of_both_ends_are_completed() {
        command(true).debug_assert();
        let command = command(true);
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
