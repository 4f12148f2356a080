//! `devctl` on a laptop: what it does there by itself, and an SSH client that hands every other verb to the bastion.
//!
//! It needs no kubeconfig: who somebody is, her SSH key tells.

mod administrate;
mod arguments;
mod authenticate;
mod authority;
mod bastion;
mod completion;
mod connection;
mod copy;
mod destination;
mod doctor;
mod failure;
mod forward;
mod host_key;
mod identities;
mod known_hosts;
mod login;
mod openssh;
mod pattern;
mod places;
mod quote;
mod remote;
mod settings;
mod sftp;
mod ssh_config;
mod ssh_setup;
mod startup_script;
mod terminal;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory, Parser};

use failure::{Failure, INTERRUPTED, USAGE};

use arguments::{Arguments, ConfigVerb, SshVerb, Verb};
use bastion::Bastion;
use places::Places;
use settings::Settings;

/// Whoever reads our stdout has gone, as `head` does: no error, and nobody to tell.
const BROKEN_PIPE: u8 = 141;

/// More than there are verbs here.
const BEHIND: usize = 100;

/// What the binary does.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if completion::answer(&words) {
        return ExitCode::SUCCESS;
    }
    let words = arguments::in_front(words);
    let parsed = match help(&words) {
        Some(help) => Err(help),
        None => Arguments::try_parse_from(&words),
    };
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(USAGE).into();
        }
    };
    match run(arguments) {
        Ok(status) => status.into(),
        Err(failure) => {
            eprintln!("devctl: {failure}");
            failure.exit_status().into()
        }
    }
}

/// The command line with all verbs, whoever answers them.
fn command() -> clap::Command {
    let here = Arguments::command();
    let is_here = |verb: &clap::Command| here.find_subcommand(verb.get_name()).is_some();
    let there = super::command();
    let there = there.get_subcommands().filter(|verb| !is_here(verb)).cloned();
    // Listed after those of the laptop.
    let there: Vec<_> = (BEHIND..).zip(there).map(|(order, verb)| verb.display_order(order)).collect();
    // All are known here, so that what is not is a mistake.
    let here = here.allow_external_subcommands(false).external_subcommand_value_parser(Resettable::Reset);
    here.subcommands(there)
}

/// What there is to read of all verbs or of one; the bastion need not be asked for that.
fn help(words: &[OsString]) -> Option<clap::Error> {
    let is = |at: usize, names: &[&str]| words.get(at).is_some_and(|word| names.iter().any(|name| word == name));
    // Behind these a program of hers begins, which may have help of its own.
    let ours = words.iter().take_while(|word| *word != "--" && !word.as_encoded_bytes().starts_with(b"--command"));
    let asked = words.len() < 2 || is(1, &["help"]) || ours.into_iter().any(|word| word == "-h" || word == "--help");
    if !asked {
        return None;
    }
    let error = command().try_get_matches_from(words).err()?;
    (!error.use_stderr() || words.len() < 2).then_some(error)
}

/// What is wrong with the words after `devctl`, as far as this program knows: for whoever cannot ask the bastion.
fn mistake(words: &[OsString]) -> Option<Failure> {
    let words = std::iter::once(OsString::from(super::NAME)).chain(words.iter().cloned());
    let error = command().try_get_matches_from(words).err().filter(clap::Error::use_stderr)?;
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    Some(Failure::new(text).status(USAGE))
}

fn run(arguments: Arguments) -> Result<u8, Failure> {
    let Arguments { cluster, verb } = arguments;
    match verb {
        Verb::Remote(words) if cluster.is_meant() => {
            block_on(administrate::verb(&cluster, &startup_script::inline(words)?))
        }
        Verb::Ssh(ssh) if cluster.is_meant() => block_on(administrate::ssh(&cluster, &ssh)),
        Verb::Cp(copy) if cluster.is_meant() => block_on(copy::run(&copy::By::Cluster(&cluster), &copy)),
        Verb::Forward(forward) if cluster.is_meant() => block_on(administrate::forward(&cluster, &forward)),
        _ if cluster.is_meant() => Err(administrate::not_there()),
        Verb::Version => print(&format!("devctl {}\n", env!("CARGO_PKG_VERSION"))),
        Verb::Completion { shell } => completion::script(shell),
        Verb::Man { folder } => man(&folder),
        Verb::Login(login) => block_on(login::run(login, Places::find()?)),
        Verb::Doctor(doctor) => block_on(doctor::run(doctor, Places::find()?)),
        Verb::Config { verb: ConfigVerb::Ssh { verb } } => {
            let places = Places::find()?;
            match verb {
                SshVerb::Enable { yes } => block_on(ssh_setup::enable(places, yes)),
                SshVerb::Disable => ssh_setup::disable(&places),
                SshVerb::Show => ssh_setup::show(&places),
            }
        }
        Verb::Ssh(ssh) => {
            let bastion = bastion()?;
            match openssh::ssh(&bastion, &ssh)? {
                Some(status) => Ok(status),
                None => block_on(remote::shell(&bastion, &ssh)),
            }
        }
        Verb::Cp(copy) => {
            let bastion = bastion()?;
            match openssh::cp(&bastion, &copy)? {
                Some(status) => Ok(status),
                None => block_on(copy::run(&copy::By::Bastion(&bastion), &copy)),
            }
        }
        Verb::Forward(forward) => {
            let bastion = bastion()?;
            match openssh::forward(&bastion, &forward)? {
                Some(status) => Ok(status),
                None => block_on(forward::run(&bastion, &forward)),
            }
        }
        Verb::Remote(words) => {
            let bastion = bastion().map_err(|failure| mistake(&words).unwrap_or(failure))?;
            block_on(remote::verb(&bastion, &startup_script::inline(words)?))
        }
    }
}

fn man(folder: &std::path::Path) -> Result<u8, Failure> {
    let failed = |error: io::Error| places::failed("write man pages into", folder, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command(), folder).map_err(failed)?;
    Ok(0)
}

fn bastion() -> Result<Bastion, Failure> {
    let places = Places::find()?;
    Bastion::of(&Settings::load(&places)?, &places)
}

/// One thread: a laptop has better uses for the others.
fn block_on(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("failed to start: {error}")))?;
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            result = work => result,
            () = terminal::interrupted() => Err(Failure::new("interrupted").status(INTERRUPTED)),
        }
    });
    // Somebody who reads stdin cannot be told to stop.
    runtime.shutdown_background();
    result
}

/// Writes to stdout, which may be a pipe that nobody reads any more.
fn print(text: &str) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(0),
        Err(error) => written(&error),
    }
}

fn written(error: &io::Error) -> Result<u8, Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(BROKEN_PIPE),
        _ => Err(Failure::new(format!("failed to write the output: {error}"))),
    }
}

/// The words after `devctl` that the bastion is to answer.
fn line(words: &[OsString]) -> Vec<u8> {
    let all: Vec<OsString> = std::iter::once("devctl".into()).chain(words.iter().cloned()).collect();
    quote::quote(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn help_is_here_wherever_it_is_asked_for() {
        let asked = |line: &str| help(&arguments::in_front(words(line))).map(|help| help.to_string());
        for (line, part) in [
            ("devctl users add --help", "--login"),
            ("devctl create x -h", "--flavor"),
            ("devctl list -w --help", "--watch"),
            ("devctl exec x --help", "WORD"),
            ("devctl ssh dev --help", "COMMAND"),
        ] {
            assert!(asked(line).is_some_and(|help| help.contains(part)), "{line}");
        }
        for line in ["devctl exec x -- ls -h", "devctl ssh dev ls -h", "devctl create x --command sleep --help"] {
            assert!(asked(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_mistake_is_found_without_the_bastion() {
        let found = |line: &str| mistake(&words(line)).map(|failure| (failure.exit_status(), failure.to_string()));
        for (line, part) in [("lisst", "list"), ("list --outptu json", "--output"), ("create", "")] {
            match found(line) {
                Some((status, text)) => {
                    assert!(status == USAGE && text.contains(part) && !text.starts_with("error"), "{text}");
                }
                None => assert!(part.is_empty(), "{line}"),
            }
        }
        assert_eq!(found("exec x -- lisst --outptu"), None);
    }
}
