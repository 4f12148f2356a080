//! `devctl ssh`, `exec` and `shells`: sessions in a DevServer, which whoever answers makes as it makes all others.

use clap::{Args, Subcommand};

use crate::devctl::output::Format;
use crate::workspace::{Attach, Listing, Program, Shells};

/// What is entered, and for what.
#[derive(Subcommand)]
pub enum Enter {
    /// Enter a DevServer: its shell, or a command for its shell
    Ssh {
        /// The DevServer [default: the one you logged in to]
        name: Option<String>,
        // A word of the laptop's: a terminal here is one there, without being told.
        #[arg(long = "tty", short = 't', hide = true)]
        _tty: bool,
        /// A command line for its shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a program in a DevServer with exactly these arguments
    Exec {
        /// The DevServer
        name: String,
        // Words of kubectl exec: input goes there, and a terminal here is one there, without being told.
        #[arg(long = "stdin", short = 'i', hide = true)]
        _stdin: bool,
        #[arg(long = "tty", short = 't', hide = true)]
        _tty: bool,
        /// The program and its arguments
        #[arg(last = true, required = true, value_name = "WORD")]
        command: Vec<String>,
    },
    /// List the shells of a DevServer that outlive their connections, or attach to one of them
    Shells {
        /// The DevServer, or with a number alone a shell of the default one [default: the one you logged in to]
        name: Option<String>,
        #[command(flatten)]
        asked: ShellsArgs,
    },
}

/// What is asked about shells.
#[derive(Args)]
pub struct ShellsArgs {
    /// Attach to this one
    number: Option<u64>,
    /// Detach whoever else looks at it
    #[arg(long, requires = "number", conflicts_with = "read_only")]
    take_over: bool,
    /// Only look; what you type goes nowhere
    #[arg(long, requires = "number")]
    read_only: bool,
    /// How to list them; a terminal that is shown a table is asked which one to attach to
    #[arg(long, short, value_name = "FORMAT", default_value = "table", conflicts_with = "number")]
    output: Format,
}

impl Enter {
    /// The DevServer; none for the one that is meant without a name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Ssh { name, .. } => name.as_deref(),
            Self::Shells { name, asked } if asked.alone(name.as_deref()).is_some() => None,
            Self::Shells { name, .. } => name.as_deref(),
            Self::Exec { name, .. } => Some(name),
        }
    }

    /// What runs there.
    pub fn program(&self) -> Program {
        match self {
            Self::Ssh { command, .. } if command.is_empty() => Program::Shell,
            // As ssh(1) does with the words after the host.
            Self::Ssh { command, .. } => Program::Command(command.join(" ").into()),
            Self::Exec { command, .. } => Program::Command(quoted(command).into()),
            Self::Shells { name, asked } => Program::Shells(asked.shells(asked.alone(name.as_deref()))),
        }
    }
}

impl ShellsArgs {
    /// The number that stands where a name would, as in `devctl shells 2`.
    fn alone(&self, name: Option<&str>) -> Option<u64> {
        name?.parse().ok().filter(|_| self.number.is_none() && self.output == Format::Table)
    }

    fn shells(&self, alone: Option<u64>) -> Shells {
        let Self { number, take_over, read_only, output } = *self;
        match number.or(alone) {
            Some(number) if take_over => Shells::Attach { number, mode: Attach::TakeOver },
            Some(number) if read_only => Shells::Attach { number, mode: Attach::ReadOnly },
            Some(number) => Shells::Attach { number, mode: Attach::Share },
            None => Shells::List(match output {
                Format::Table => Listing::Table,
                Format::Wide => Listing::Wide,
                Format::Json => Listing::Json,
                Format::Yaml => Listing::Yaml,
                Format::Name => Listing::Name,
            }),
        }
    }
}

/// A command line that a shell takes for exactly these words.
fn quoted(words: &[String]) -> String {
    let words = words.iter().map(|word| match shlex::try_quote(word) {
        Ok(quoted) => quoted.into_owned(),
        // A NUL, which no argument can have.
        Err(_) => word.replace('\0', ""),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devctl::{Exit, Request, parse_line};

    fn entered(line: &str) -> (Option<String>, Program) {
        match parse_line(line, None, false) {
            Request::Enter(enter) => (enter.name().map(str::to_owned), enter.program()),
            Request::Explain(said) => panic!("{}", said.text),
            Request::Run(_) => panic!("it is no verb of ours"),
        }
    }

    #[test]
    fn a_session_is_as_ssh_would_have_it() {
        let command = |text: &str| Program::Command(text.to_owned().into());
        assert_eq!(entered("devctl ssh"), (None, Program::Shell));
        assert_eq!(entered("devctl ssh gpu"), (Some("gpu".to_owned()), Program::Shell));
        assert_eq!(entered("devctl ssh gpu 'ls | wc' -l"), (Some("gpu".to_owned()), command("ls | wc -l")));
        assert_eq!(entered("devctl ssh -t gpu sort -t , f"), (Some("gpu".to_owned()), command("sort -t , f")));
        assert_eq!(entered("devctl ssh gpu -t htop"), (Some("gpu".to_owned()), command("htop")));
        assert_eq!(entered("devctl ssh gpu -- ls -la"), (Some("gpu".to_owned()), command("ls -la")));
        assert_eq!(entered("devctl exec -it gpu -- bash"), (Some("gpu".to_owned()), command("bash")));
        assert_eq!(entered("devctl exec gpu -- echo 'a  b' -n"), (Some("gpu".to_owned()), command("echo 'a  b' -n")));
    }

    #[test]
    fn shells_are_those_of_the_named_devserver_or_of_the_one_that_is_meant() {
        let list = |listing| Program::Shells(Shells::List(listing));
        let attach = |number, mode| Program::Shells(Shells::Attach { number, mode });
        assert_eq!(entered("devctl shells"), (None, list(Listing::Table)));
        let gpu = Some("gpu".to_owned());
        assert_eq!(entered("devctl shells gpu 2 --read-only"), (gpu.clone(), attach(2, Attach::ReadOnly)));
        assert_eq!(entered("devctl shells 2"), (None, attach(2, Attach::Share)));
        assert_eq!(entered("devctl shells gpu -o yaml"), (gpu, list(Listing::Yaml)));
        // As a command of its own it is about the DevServer that was logged in to.
        assert_eq!(entered("shells"), (None, list(Listing::Table)));
        assert_eq!(entered(" shells  -o json"), (None, list(Listing::Json)));
        assert_eq!(entered("shells 2"), (None, attach(2, Attach::Share)));
        assert_eq!(entered("shells --take-over 2"), (None, attach(2, Attach::TakeOver)));
    }

    #[test]
    fn a_mistake_about_shells_is_explained() {
        let mistakes = ["shells two", "shells --take-over", "shells 1 --take-over --read-only", "shells 1 -o json"];
        for mistake in mistakes {
            let Request::Explain(said) = parse_line(mistake, None, false) else { panic!("{mistake}") };
            assert_eq!(said.exit, Exit::Usage, "{}", said.text);
        }
        let Request::Explain(help) = parse_line("shells --help", None, false) else { panic!("it is help") };
        assert!(help.exit == Exit::Done && help.text.contains("shells [OPTIONS] [NUMBER]"), "{}", help.text);
    }
}
