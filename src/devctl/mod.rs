//! `devctl`: the verbs that people use DevServers with, one file each in `verbs`.
//!
//! The bastion runs them for `ssh alice@bastion devctl …`, acting as alice; the `devctl` program runs them for an
//! administrator with a kubeconfig. They know the cluster's API, what is asked of a [`workspace`](crate::workspace),
//! and the [`Caller`], and neither SSH nor the bastion.

mod caller;
mod changes;
mod error;
mod keyboard;
pub mod laptop;
mod output;
mod revise;
mod time;
mod verbs;
mod wait;

pub use caller::{Beyond, Caller, Piece, Streams};
pub use error::{Error, Exit};
pub use keyboard::{Entered, Keyboard, Typed};
pub use verbs::{Enter, Verb};

use caller::advice;
use revise::revise;
use verbs::running;

use clap::{ColorChoice, CommandFactory, Parser};

/// What a caller's words ask for.
pub enum Request {
    /// A verb to run here.
    Run(Box<Verb>),
    /// A session in one of her DevServers.
    Enter(Enter),
    /// A text to print, and how that ends: help, or what was wrong with the words.
    Explain(Explanation),
}

/// What is said instead of doing something.
pub struct Explanation {
    pub text: String,
    pub exit: Exit,
}

/// Develop on GPU pods: your DevServers, from where you are.
#[derive(Parser)]
#[command(name = NAME, version, arg_required_else_help = true, after_help = EXIT_STATUS, max_term_width = 120)]
struct Devctl {
    #[command(subcommand)]
    asked: Asked,
}

#[derive(clap::Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and not for long")]
enum Asked {
    #[command(flatten)]
    Verb(Verb),
    #[command(flatten)]
    Enter(Enter),
    #[command(flatten)]
    Laptop(verbs::Laptop),
}

/// The word that commands of ours begin with.
pub const NAME: &str = "devctl";
/// Two that need not be told whose they are.
const HELP: &str = "help";
const SHELLS: &str = "shells";

/// List the shells of this DevServer that outlive their connections, or attach to one of them
#[derive(Parser)]
#[command(name = SHELLS, disable_help_subcommand = true, max_term_width = 120)]
struct Shells {
    #[command(flatten)]
    asked: verbs::ShellsArgs,
}

const EXIT_STATUS: &str = "\
Exit status:
  0 done   1 failed   2 usage error   3 not found   4 refused   5 not ready in time   130 interrupted
  ssh, exec and shells end as the program in the DevServer does, or with 255 where it cannot be entered.

`devctl help VERB` describes each verb.";

/// The verbs, as help, completion and man pages tell them.
fn command() -> clap::Command {
    Devctl::command()
}

/// Whether the command line `line` is for us, rather than for a shell in a DevServer.
pub fn is_ours(line: &str) -> bool {
    matches!(line.split_whitespace().next(), Some(NAME | SHELLS)) || line.trim() == HELP
}

/// Reads a command line as a shell would split it.
pub fn parse_line(line: &str, columns: Option<u16>, colour: bool) -> Request {
    let Some(words) = shlex::split(line) else {
        let text = "devctl: a quote in the command is not closed\n".to_owned();
        return Request::Explain(Explanation { text, exit: Exit::Usage });
    };
    match words.first().map(String::as_str) {
        Some(SHELLS) => match read::<Shells>(&words, columns, colour) {
            Ok(Shells { asked }) => Request::Enter(Enter::Shells { name: None, asked }),
            Err(explanation) => Request::Explain(explanation),
        },
        Some(HELP) => parse(&[NAME, HELP].map(str::to_owned), columns, colour),
        _ => parse(&words, columns, colour),
    }
}

/// Reads words, the first of which is `devctl`.
pub fn parse(words: &[String], columns: Option<u16>, colour: bool) -> Request {
    match read::<Devctl>(words, columns, colour).map(|devctl| devctl.asked) {
        Ok(Asked::Verb(verb)) => Request::Run(Box::new(verb)),
        Ok(Asked::Enter(enter)) => Request::Enter(enter),
        Ok(Asked::Laptop(verb)) => Request::Explain(Explanation { text: verb.explain(), exit: Exit::Usage }),
        Err(explanation) => Request::Explain(explanation),
    }
}

fn read<P: Parser>(words: &[String], columns: Option<u16>, colour: bool) -> Result<P, Explanation> {
    let choice = if colour { ColorChoice::Always } else { ColorChoice::Never };
    let mut command = P::command().color(choice);
    if let Some(columns) = columns {
        command = command.term_width(columns.into());
    }
    let parsed = command.try_get_matches_from(words).and_then(|mut matches| P::from_arg_matches_mut(&mut matches));
    parsed.map_err(|said| {
        let text = said.render();
        let mut text = if colour { text.ansi().to_string() } else { text.to_string() };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Explanation { text, exit: if said.use_stderr() { Exit::Usage } else { Exit::Done } }
    })
}

/// Runs a verb to its end. What went wrong is told to the caller; how it ended is the answer.
pub async fn run(verb: Verb, caller: &mut Caller) -> Exit {
    match verb.run(caller).await {
        Ok(()) => Exit::Done,
        Err(error) => {
            let error = error.seen_from(caller.beyond.server());
            if !error.text.is_empty() {
                caller.say(&error.to_string()).await;
            }
            error.exit
        }
    }
}

/// Tells that a verb could not even begin.
pub async fn fail(why: &str, caller: &Caller) -> Exit {
    caller.say(&Error::failed(why).to_string()).await;
    Exit::Failed
}

/// Says `explanation` where it belongs.
pub async fn explain(explanation: Explanation, caller: &Caller) -> Exit {
    match explanation.exit {
        Exit::Done => caller.print(&explanation.text).await,
        _ => caller.err(&explanation.text).await,
    }
    explanation.exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert!(matches!(parse_line("devctl create x --env 'A=b c' --image a:1", None, false), Request::Run(_)));
        let Request::Explain(said) = parse_line("devctl create 'x", None, false) else { panic!("it is no request") };
        assert_eq!(said.exit, Exit::Usage);
    }

    #[test]
    fn ours_begin_with_our_name() {
        for ours in ["devctl", " devctl list", "devctl\tlist", "help", " help ", "shells", " shells 2"] {
            assert!(is_ours(ours), "{ours}");
        }
        for theirs in ["devctl2", "/usr/bin/devctl list", "help me", "exec devctl", "shellspec", "ls shells", ""] {
            assert!(!is_ours(theirs), "{theirs}");
        }
    }

    #[test]
    fn help_is_no_mistake_and_is_as_wide_as_the_terminal() {
        let Request::Explain(help) = parse_line("help", Some(60), false) else { panic!("it is no verb") };
        assert_eq!(help.exit, Exit::Done);
        assert!(help.text.contains("create") && help.text.contains("Exit status"), "{}", help.text);
        assert!(!help.text.contains('\x1b'));
        let Request::Explain(mistake) = parse_line("devctl lisst", None, true) else { panic!("it is no verb") };
        assert_eq!(mistake.exit, Exit::Usage);
        assert!(mistake.text.contains('\x1b') && mistake.text.contains("list"), "{}", mistake.text);
    }

    #[test]
    fn the_arguments_are_consistent() {
        Devctl::command().debug_assert();
        Shells::command().debug_assert();
    }
}
