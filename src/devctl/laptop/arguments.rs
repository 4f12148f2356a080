//! The command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::destination::Destination;
use crate::devctl::output::OutputArgs;

/// Develop on GPU pods: your DevServers, from your laptop
#[derive(Parser)]
#[command(name = "devctl", version, arg_required_else_help = true, after_help = AFTER, max_term_width = 120)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) cluster: Cluster,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const AFTER: &str = "\
`devctl login [USER@]HOST` comes first; then the bastion does what is asked, as you, and no kubeconfig is needed.

Exit status:
  0 done   1 failed   2 usage error   3 not found   4 refused
  5 not ready in time   130 interrupted
  255 the bastion cannot be reached or does not let you in
ssh, exec, cp, forward and shells end as the program does.";

/// Where the value of an option is.
#[derive(PartialEq)]
pub(super) enum Value {
    Within,
    Follows,
}

/// That `word` is an option of [`Cluster`].
pub(super) fn of_cluster(word: &str) -> Option<Value> {
    let option = word.split_once('=').map_or(word, |(option, _)| option);
    match option {
        "--context" | "--kubeconfig" | "--namespace" | "-n" if option == word => Some(Value::Follows),
        "--context" | "--kubeconfig" | "--namespace" => Some(Value::Within),
        _ => option.starts_with("-n").then_some(Value::Within),
    }
}

/// The command line with the options of [`Cluster`] in front, which may stand behind the verb, too: up to words that
/// are a program's, as those of ssh's command are.
pub(super) fn in_front(words: Vec<OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut front: Vec<OsString> = words.next().into_iter().collect();
    let mut rest: Vec<OsString> = Vec::new();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if let Some(value) = of_cluster(&text) {
            front.push(word);
            if value == Value::Follows {
                front.extend(words.next());
            }
        } else {
            rest.push(word);
            if text == "--" || text.starts_with("--command") {
                break;
            }
            let names = rest.iter().filter(|word| !word.as_encoded_bytes().starts_with(b"-")).count();
            // As ssh has it: options end where the command begins, whose own they are from there.
            if rest.first().is_some_and(|verb| verb == "ssh") && names > 2 {
                rest.insert(rest.len() - 1, "--".into());
                break;
            }
        }
    }
    front.extend(rest);
    front.extend(words);
    front
}

/// For administrators: to do it on a cluster, rather than ask the bastion
#[derive(Args, Clone)]
#[command(next_help_heading = "For administrators, who ask the cluster rather than the bastion")]
pub(super) struct Cluster {
    /// A context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The kubeconfig [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Whose DevServers: dev-alice has alice's [default: the context's]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
}

impl Cluster {
    /// Whether it is not the bastion that is asked.
    pub(super) fn is_meant(&self) -> bool {
        self.context.is_some() || self.kubeconfig.is_some() || self.namespace.is_some()
    }
}

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Choose the bastion to use, and verify its host key
    Login(Login),
    /// Log in to a DevServer, or run a command there
    Ssh(Ssh),
    /// Copy files to or from DevServers, as scp does
    Cp(Copy),
    /// Forward local ports to a DevServer, until Ctrl-C
    Forward(Forward),
    /// Let ssh, scp and editors on this machine reach DevServers
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Check every step from here to a DevServer, and say how to fix what fails
    Doctor(Doctor),
    /// Print a completion script for a shell
    Completion {
        /// For which one
        shell: Shell,
    },
    /// Print the version
    Version,
    /// Write man pages into a folder
    #[command(hide = true)]
    Man { folder: PathBuf },
    #[command(external_subcommand)]
    Remote(Vec<OsString>),
}

#[derive(Args)]
pub(super) struct Login {
    /// The bastion; `~/.ssh/config` may know it by a short name
    #[arg(value_name = "[USER@]HOST[:PORT]")]
    pub(super) destination: Destination,
    /// Take the host key of a bastion that is not known yet without asking; never one that has changed
    #[arg(long)]
    pub(super) accept_new: bool,
    /// The private key to log in with [default: those that ssh would try]
    #[arg(long, short, value_name = "FILE")]
    pub(super) identity: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Ssh {
    /// Which DevServer [default: your default one]
    pub(super) name: Option<String>,
    /// Give the command a terminal
    #[arg(long, short)]
    pub(super) tty: bool,
    /// What to run instead of your shell, with its own options
    #[arg(value_name = "COMMAND")]
    words: Vec<OsString>,
    #[arg(last = true, hide = true)]
    further: Vec<OsString>,
}

impl Ssh {
    pub(super) fn command(&self) -> impl Iterator<Item = &OsString> {
        self.words.iter().chain(&self.further)
    }

    /// As ssh has it: the words with spaces between, for the shell there to make sense of. None: her shell.
    pub(super) fn line(&self) -> Option<Vec<u8>> {
        let words: Vec<&[u8]> = self.command().map(|word| word.as_encoded_bytes()).collect();
        (!words.is_empty()).then(|| words.join(&b' '))
    }

    pub(super) fn wants_terminal(&self, line: &Option<Vec<u8>>) -> bool {
        io::stdin().is_terminal() && (line.is_none() || self.tty)
    }
}

#[derive(Args)]
pub(super) struct Copy {
    /// Folders with all that is in them
    #[arg(long, short)]
    pub(super) recursive: bool,
    /// Keep times and modes
    #[arg(long, short)]
    pub(super) preserve: bool,
    /// What to copy, and last where to; NAME:PATH is in a DevServer, :PATH in your default one
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    pub(super) paths: Vec<OsString>,
}

#[derive(Args)]
pub(super) struct Forward {
    /// Which DevServer
    pub(super) name: String,
    /// Ports of the DevServer, each with the local one if that is another
    #[arg(required = true, value_name = "[LOCAL:]PORT")]
    pub(super) ports: Vec<Ports>,
}

/// A local port, and the one that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) local: u16,
    pub(super) remote: u16,
}

impl std::str::FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| {
            text.parse()
                .ok()
                .filter(|port: &u16| *port > 0)
                .ok_or_else(|| format!("`{text}` is not a port (1 to 65535)"))
        };
        match text.split_once(':') {
            Some((local, remote)) => Ok(Self { local: port(local)?, remote: port(remote)? }),
            None => port(text).map(|port| Self { local: port, remote: port }),
        }
    }
}

#[derive(Subcommand)]
pub(super) enum ConfigVerb {
    /// Make `ssh NAME.dev`, scp, rsync and editors find your DevServers
    Ssh {
        #[command(subcommand)]
        verb: SshVerb,
    },
}

#[derive(Subcommand)]
pub(super) enum SshVerb {
    /// Add them to OpenSSH's configuration
    Enable {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Take them away again
    Disable,
    /// Tell whether they are there, and what was written
    Show,
}

#[derive(Args)]
pub(super) struct Doctor {
    /// Which DevServer [default: your default one]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn other_verbs_are_kept_word_by_word() {
        Arguments::command().debug_assert();
        let parsed = Arguments::try_parse_from(["devctl", "create", "--flavor", "gpu", "-h", "--", "x"]).ok();
        let Some(Arguments { verb: Verb::Remote(words), .. }) = parsed else { panic!("it is the bastion's") };
        assert_eq!(words, ["create", "--flavor", "gpu", "-h", "--", "x"]);
    }

    #[test]
    fn the_cluster_may_be_named_behind_the_verb() {
        let moved = |line: &str| {
            let words = in_front(line.split(' ').map(OsString::from).collect());
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let same = [
            "devctl",
            "devctl --context a list -w",
            "devctl exec x -- kubectl -n a",
            "devctl ssh -t x",
            "devctl ssh -- ls -n a",
            "devctl create x --command sleep -n",
        ];
        for line in same {
            assert_eq!(moved(line), line);
        }
        assert_eq!(moved("devctl exec -n a x --context b -- sh -n c"), "devctl -n a --context b exec x -- sh -n c");
        assert_eq!(moved("devctl list -ndev-bob -w"), "devctl -ndev-bob list -w");
        assert_eq!(moved("devctl ssh -t --kubeconfig=a x sh"), "devctl --kubeconfig=a ssh -t x -- sh");
    }

    #[test]
    fn options_behind_a_command_are_its_own() {
        let asked = |line: &str| {
            let words = in_front(line.split(' ').map(OsString::from).collect());
            let Ok(Arguments { cluster, verb: Verb::Ssh(ssh) }) = Arguments::try_parse_from(words) else {
                panic!("{line}");
            };
            let command = String::from_utf8(ssh.line().unwrap_or_default()).unwrap();
            (ssh.name.unwrap_or_default(), ssh.tty, command, cluster.is_meant())
        };
        let of = |name: &str, tty, command: &str| (name.to_owned(), tty, command.to_owned(), false);
        assert_eq!(asked("devctl ssh dev sort -t , f"), of("dev", false, "sort -t , f"));
        assert_eq!(asked("devctl ssh dev ls -la --context x -n a"), of("dev", false, "ls -la --context x -n a"));
        assert_eq!(asked("devctl ssh dev ls -- -n a -h"), of("dev", false, "ls -- -n a -h"));
        assert_eq!(asked("devctl ssh -t dev top -b"), of("dev", true, "top -b"));
        assert_eq!(asked("devctl ssh dev -t top"), of("dev", true, "top"));
        assert_eq!(asked("devctl ssh dev -- top -t"), of("dev", false, "top -t"));
        assert_eq!(asked("devctl ssh -- top -t"), of("", false, "top -t"));
        assert!(asked("devctl ssh --context a dev ls -n a").3);
    }

    #[test]
    fn ports_may_differ() {
        assert_eq!("8888".parse(), Ok(Ports { local: 8888, remote: 8888 }));
        assert_eq!("80:8888".parse(), Ok(Ports { local: 80, remote: 8888 }));
        for wrong in ["", "0", "x", "1:", ":1", "1:2:3", "65536"] {
            assert!(wrong.parse::<Ports>().is_err(), "{wrong}");
        }
    }
}
