//! Completion for shells, with the names of DevServers from the bastion.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::Command;
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use tokio::time::timeout;

use super::bastion::Bastion;
use super::connection;
use super::failure::Failure;
use super::host_key::Unknown;
use super::places::Places;
use super::settings::Settings;
use super::{print, remote};

/// Somebody waits with a finger on the key.
const LIMIT: Duration = Duration::from_secs(3);
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
    let name = shell.to_string();
    let shells = Shells::builtins();
    let known = shells.completer(&name).ok_or_else(|| Failure::new(format!("there is no completion for {name}")))?;
    let mut text = Vec::new();
    let written = known.write_registration(ASKED, super::super::NAME, "devctl", "devctl", &mut text);
    written.map_err(|error| Failure::new(format!("failed to write the script: {error}")))?;
    print(&String::from_utf8_lossy(&text))
}

/// All verbs; where a name is meant, the bastion is asked for it.
fn command() -> Command {
    with_names(super::command())
}

fn with_names(command: Command) -> Command {
    let verb = command.get_name().to_owned();
    let below: Vec<_> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    // Not `mut_arg`, which would move the argument behind the others.
    let command = command.mut_args(|argument| match names_of(&verb, argument.get_id().as_str()) {
        Some(kind) => argument.add(ArgValueCompleter::new(move |begun: &OsStr| candidates(kind, begun))),
        None => argument,
    });
    below.into_iter().fold(command, |command, verb| command.mut_subcommand(verb, with_names))
}

/// What the argument `id` of a verb names, as `devctl complete` calls it.
fn names_of(verb: &str, id: &str) -> Option<&'static str> {
    match (verb, id) {
        // A new one has no name yet.
        ("create" | "add", "name") => None,
        // Of `users`.
        ("remove" | "keys", "name") => Some("users"),
        (_, "name" | "names") => Some("devservers"),
        (_, "flavor") => Some("flavors"),
        _ => None,
    }
}

fn candidates(kind: &str, begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let names = names(kind).unwrap_or_default();
    names.lines().filter(|name| name.starts_with(&*begun)).map(CompletionCandidate::new).collect()
}

/// Names, one a line. None: there is no way to tell without a question.
fn names(kind: &str) -> Option<String> {
    let places = Places::find().ok()?;
    let bastion = Bastion { quiet: true, ..Bastion::of(&Settings::load(&places).ok()?, &places).ok()? };
    let ask = async {
        let connection = connection::open(&bastion, Unknown::Refuse).await.ok()?;
        let (status, names) = remote::ask(&connection, &["complete", kind]).await.ok()?;
        (status == 0).then_some(names)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { timeout(LIMIT, ask).await.ok().flatten() })
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
        // Whoever renames these arguments changes names_of, too.
        for verb in ["ssh", "exec", "forward", "suspend", "resume", "delete"] {
            let arguments = command.find_subcommand(verb).unwrap().get_arguments();
            assert!(arguments.into_iter().any(|argument| argument.get::<ArgValueCompleter>().is_some()), "{verb}");
        }
    }
}
