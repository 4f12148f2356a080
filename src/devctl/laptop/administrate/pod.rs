//! A DevServer's pod that is entered with a kubeconfig's rights, as `kubectl exec` enters it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::arguments::Cluster;
use super::super::failure::{Failure, INTERRUPTED, USAGE};
use super::super::remote::VARIABLES;
use super::super::terminal;
use super::{There, attended};
use crate::api::names;
use crate::devctl::{self, Exit};
use crate::plain::plain;
use crate::workspace::{
    Address, Command, Direct, Error, Process, Program, Target, Terminal, TerminalSize, WITHOUT_AGENT,
};

/// For what is left to be cleaned up in a pod: programs are given five seconds.
const CLEANUP: Duration = Duration::from_secs(10);

pub(in super::super) struct Pod {
    direct: Direct,
    name: String,
    namespace: String,
    /// How she looks at it from here, `devctl why …`.
    why: String,
}

impl Pod {
    /// Enters the pod of `mydev`, or of `mydev.alice`, whatever the namespace. A DevServer that is suspended is
    /// resumed, and what it waits for is told.
    pub(in super::super) async fn open(cluster: &Cluster, name: Option<&str>) -> Result<Self, Failure> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Err(Failure::new("name a DevServer")
                .cure(format!("`{}` shows which there are", asked(cluster, None, "list")))
                .status(USAGE));
        };
        let mut there = There::of(cluster).await?;
        let name = match Target::named(name) {
            Target::Shared { owner, name } => {
                there.namespace = names::namespace(&owner);
                there.options = options(cluster, Some(&there.namespace));
                name
            }
            _ => name.to_owned(),
        };
        let There { client, namespace, server: url, options } = there.clone();
        let why = asked(cluster, Some(&namespace), &format!("why {name}"));
        // What is typed is for the program.
        let (_, nothing) = mpsc::channel(1);
        let runs = attended(there, nothing, async |caller| devctl::running(caller, &name).await).await?;
        let server = match runs {
            Some(Ok(server)) => server,
            Some(Err(error)) if error.exit == Exit::Interrupted => {
                return Err(Failure::new(devctl::advice(&error.text, &options)).status(INTERRUPTED));
            }
            Some(Err(error)) => {
                let text = error.seen_from(Some(&url)).text;
                return Err(Failure::new(devctl::advice(&text, &options)).no_connection());
            }
            None => return Err(Failure::new("nobody reads what is said").no_connection()),
        };
        let entered = tokio::select! {
            entered = Direct::enter(client, &server, &namespace) => entered,
            Ok(()) = tokio::signal::ctrl_c() => return Err(Failure::new("interrupted").status(INTERRUPTED)),
        };
        let direct = entered.map_err(|error| explain(&error, &name, &namespace, &why))?;
        Ok(Self { direct, name, namespace, why })
    }

    pub(in super::super) async fn start(&self, program: Program, terminal: bool) -> Result<Process, Failure> {
        let environment = VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let command = Command {
            program,
            terminal: terminal.then(|| Terminal {
                term: std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned()),
                size: size(),
                modes: Vec::new(),
            }),
            environment: environment.collect(),
            ssh_agent: false,
            x11: None,
            // A shell that lasted would be what its owner's next login finds.
            detached: None,
        };
        self.direct.start(&command).await.map_err(|error| self.explain(&error))
    }

    /// Fails where there is no agent, and says what to do instead.
    pub(in super::super) fn needs_agent(&self, instead: &str) -> Result<(), Failure> {
        match self.direct.has_agent() {
            true => Ok(()),
            false => Err(Failure::new(WITHOUT_AGENT).cure(instead).no_connection()),
        }
    }

    /// Connects to one of its ports.
    pub(super) async fn connect(&self, port: u16) -> Result<crate::carrier::Stream, Error> {
        self.direct.connect(&Address::Tcp { host: "localhost".to_owned(), port }).await
    }

    /// Why nothing more can be done in it, once that is so.
    pub(super) async fn ended(&self) -> Failure {
        self.direct.ended().await;
        lost()
    }

    pub(super) fn explain(&self, error: &Error) -> Failure {
        explain(error, &self.name, &self.namespace, &self.why)
    }

    /// Nothing that was begun here is left behind.
    pub(in super::super) async fn leave(self) {
        let _ = timeout(CLEANUP, self.direct.leave()).await;
    }
}

pub(in super::super) fn lost() -> Failure {
    Failure::new("the connection to the pod was lost")
        .cure("run it again; `devctl why NAME`, asked of the same cluster, looks at a DevServer")
        .no_connection()
}

/// The terminal's size now.
pub(super) fn size() -> TerminalSize {
    let (columns, rows) = terminal::size();
    let most = |cells: u32| u16::try_from(cells).unwrap_or(u16::MAX);
    TerminalSize { columns: most(columns), rows: most(rows) }
}

/// What a cluster says to somebody who may not enter pods, if that is what it said.
pub(super) fn refusal(error: &Error, namespace: &str) -> Option<String> {
    match error {
        Error::Refused { code: 401 | 403, message } => {
            Some(format!("the cluster does not let you exec into pods of {namespace}: {}", plain(message)))
        }
        _ => None,
    }
}

/// The words that ask the same cluster for `verb`.
fn asked(cluster: &Cluster, namespace: Option<&str>, verb: &str) -> String {
    format!("{} {} {verb}", devctl::NAME, options(cluster, namespace))
}

/// The options that name the same cluster, and that namespace if it is known better than from `cluster`.
pub(super) fn options(cluster: &Cluster, namespace: Option<&str>) -> String {
    let Cluster { context, kubeconfig, namespace: given } = cluster;
    let kubeconfig = kubeconfig.as_ref().map(|file| file.display().to_string());
    let namespace = namespace.or(given.as_deref()).map(str::to_owned);
    let options = [("--context", context.clone()), ("--kubeconfig", kubeconfig), ("--namespace", namespace)];
    let word = |value: &str| shlex::try_quote(value).map(String::from).unwrap_or_default();
    let options = options.into_iter().filter_map(|(option, value)| Some(format!("{option} {}", word(&value?))));
    options.collect::<Vec<_>>().join(" ")
}

fn explain(error: &Error, name: &str, namespace: &str, why: &str) -> Failure {
    let failure = match refusal(error, namespace) {
        Some(refusal) => Failure::new(refusal).cure(format!(
            "`kubectl auth can-i create pods/exec --namespace {namespace}` tells whether you may: `get` and `create` are \
             needed;\nwithout --context, --kubeconfig and --namespace the bastion is asked, as you"
        )),
        None if matches!(error, Error::Lost(_) | Error::Carrier(_)) => return lost(),
        None if matches!(error, Error::NotRunning { .. }) => {
            Failure::new(format!("`{name}` does not run any more")).cure(format!("`{why}` tells why"))
        }
        None => Failure::new(plain(&error.user_message())).cure(format!("`{why}` looks at the DevServer")),
    };
    failure.no_connection()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_asked_is_asked_of_the_same_cluster() {
        let kubeconfig = Some("my clusters".into());
        let cluster = Cluster { context: Some("lab".to_owned()), kubeconfig, namespace: Some("mine".to_owned()) };
        let same = "devctl --context lab --kubeconfig 'my clusters' --namespace";
        assert_eq!(asked(&cluster, None, "list"), format!("{same} mine list"));
        assert_eq!(asked(&cluster, Some("dev-alice"), "why dev"), format!("{same} dev-alice why dev"));
    }
}
