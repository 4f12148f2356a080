//! `devctl ssh`, `exec` and `shells`: sessions in a DevServer, which whoever answers makes as it makes all others.

use clap::Subcommand;

/// What is entered, and for what.
#[derive(Subcommand)]
pub enum Enter {
    /// Enter a DevServer: its shell, or a command for its shell
    Ssh {
        /// The DevServer [default: the one you logged in to]
        name: Option<String>,
        /// A command line for its shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a program in a DevServer, word by word as you give it
    Exec {
        /// The DevServer
        name: String,
        /// The program and its arguments
        #[arg(last = true, required = true, value_name = "WORD")]
        command: Vec<String>,
    },
    /// List the shells of a DevServer that outlive their connections, or attach to one of them
    Shells {
        /// The DevServer [default: the one you logged in to]
        name: Option<String>,
        /// Attach to this one
        number: Option<u64>,
        /// Detach whoever else looks at it
        #[arg(long, requires = "number", conflicts_with = "read_only")]
        take_over: bool,
        /// Only look; what you type goes nowhere
        #[arg(long, requires = "number")]
        read_only: bool,
        /// How to list them: table or json
        #[arg(long, short, value_name = "FORMAT", conflicts_with = "number", value_parser = ["table", "json"])]
        output: Option<String>,
    },
}

/// What runs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Her shell.
    Shell,
    /// A command line for her shell.
    Command(String),
    /// What the bastion tells of shells: a command line of its own.
    Shells(String),
}

impl Enter {
    /// The DevServer; none for the one that is meant without a name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Ssh { name, .. } | Self::Shells { name, .. } => name.as_deref(),
            Self::Exec { name, .. } => Some(name),
        }
    }

    pub fn program(&self) -> Program {
        match self {
            Self::Ssh { command, .. } if command.is_empty() => Program::Shell,
            // As ssh(1) does with the words after the host.
            Self::Ssh { command, .. } => Program::Command(command.join(" ")),
            Self::Exec { command, .. } => Program::Command(quoted(command)),
            Self::Shells { number, take_over, read_only, output, .. } => {
                let number = number.iter().map(u64::to_string);
                let flags = [(*take_over, "--take-over"), (*read_only, "--read-only")];
                let flags = flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.to_owned());
                let output = output.iter().map(|format| format!("--output={format}"));
                let words = ["shells".to_owned()].into_iter().chain(number).chain(flags).chain(output);
                Program::Shells(words.collect::<Vec<_>>().join(" "))
            }
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
    use crate::devctl::{Request, parse_line};

    fn entered(line: &str) -> (Option<String>, Program) {
        match parse_line(line, None, false) {
            Request::Enter(enter) => (enter.name().map(str::to_owned), enter.program()),
            Request::Explain(said) => panic!("{}", said.text),
            Request::Run(_) => panic!("it is no verb of ours"),
        }
    }

    #[test]
    fn a_session_is_as_ssh_would_have_it() {
        let command = |text: &str| Program::Command(text.to_owned());
        assert_eq!(entered("devctl ssh"), (None, Program::Shell));
        assert_eq!(entered("devctl ssh gpu"), (Some("gpu".to_owned()), Program::Shell));
        assert_eq!(entered("devctl ssh gpu 'ls | wc' -l"), (Some("gpu".to_owned()), command("ls | wc -l")));
        assert_eq!(entered("devctl exec gpu -- echo 'a  b' -n"), (Some("gpu".to_owned()), command("echo 'a  b' -n")));
    }

    #[test]
    fn shells_are_those_of_the_named_devserver() {
        let shells = |text: &str| Program::Shells(text.to_owned());
        assert_eq!(entered("devctl shells"), (None, shells("shells")));
        assert_eq!(
            entered("devctl shells gpu 2 --read-only"),
            (Some("gpu".to_owned()), shells("shells 2 --read-only"))
        );
        assert_eq!(entered("devctl shells gpu -o json"), (Some("gpu".to_owned()), shells("shells --output=json")));
    }
}
