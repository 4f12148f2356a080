//! The command `shells`, which the bastion answers: about the shells that outlive their connections.

use clap::{Parser, ValueEnum};

use crate::workspace::{Attach, Shells};

/// Lists the shells of this DevServer that outlive their connections, or attaches to one of them.
///
/// On a terminal (ssh -t) the list asks which one to attach to.
#[derive(Parser)]
#[command(name = NAME, disable_help_subcommand = true)]
struct Arguments {
    /// Attach to this one.
    number: Option<u64>,
    /// Detach whoever else looks at it.
    #[arg(long, requires = "number", conflicts_with = "read_only")]
    take_over: bool,
    /// Only look; what you type goes nowhere.
    #[arg(long, requires = "number")]
    read_only: bool,
    /// How to list them.
    #[arg(long, short, value_name = "FORMAT", default_value = "table", conflicts_with = "number")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

const NAME: &str = "shells";

/// What `command` asks about shells, or how to ask it; none if that is not what it is about.
pub(super) fn parse(command: &str) -> Option<Result<Shells, clap::Error>> {
    let words: Vec<&str> = command.split_whitespace().collect();
    (words.first() == Some(&NAME)).then(|| {
        let Arguments { number, take_over, read_only, output } = Arguments::try_parse_from(words)?;
        Ok(match number {
            Some(number) if take_over => Shells::Attach { number, mode: Attach::TakeOver },
            Some(number) if read_only => Shells::Attach { number, mode: Attach::ReadOnly },
            Some(number) => Shells::Attach { number, mode: Attach::Share },
            None => Shells::List { json: output == Output::Json },
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(command: &str) -> Option<Shells> {
        parse(command)?.ok()
    }

    #[test]
    fn a_command_about_shells_is_understood() {
        assert_eq!(parsed("shells"), Some(Shells::List { json: false }));
        assert_eq!(parsed(" shells  -o json"), Some(Shells::List { json: true }));
        assert_eq!(parsed("shells 2"), Some(Shells::Attach { number: 2, mode: Attach::Share }));
        assert_eq!(parsed("shells --take-over 2"), Some(Shells::Attach { number: 2, mode: Attach::TakeOver }));
        assert_eq!(parsed("shells 2 --read-only"), Some(Shells::Attach { number: 2, mode: Attach::ReadOnly }));
    }

    #[test]
    fn a_mistake_is_explained_and_other_commands_are_left_alone() {
        for mistake in ["shells two", "shells --take-over", "shells 1 --take-over --read-only", "shells --help"] {
            assert!(parse(mistake).is_some_and(|parsed| parsed.is_err()), "{mistake}");
        }
        assert!(parse("shellspec").is_none() && parse("ls shells").is_none() && parse("").is_none());
        Arguments::command().debug_assert();
    }
}
