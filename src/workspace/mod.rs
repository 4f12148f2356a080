//! Where do they go? [`Identity`](crate::identity::Identity) + [`Target`] → a ready [`Workspace`] → a [`Process`] in
//! it.

mod about;
mod activity;
mod agent;
mod breaks;
mod carriers;
mod direct;
mod ensure;
mod enter;
mod exec;
#[cfg(test)]
mod fake;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod last_hour;
mod listeners;
mod marker;
mod memory;
mod news;
mod notices;
mod process;
mod provide;
mod rounds;
mod sampler;
mod script;
mod share;
mod target;
mod wake;
mod wire;

use kube::core::Status;

pub use crate::agent::request::{Address, Attach, Exit, Listing, Origin, Shells, Size as TerminalSize, Terminal, X11};
pub use crate::provisioning::Progress;
pub use direct::Direct;
pub use ensure::{Config, Workspace, Workspaces};
#[cfg(test)]
pub(crate) use fake::EchoWorkspaces;
pub use last_hour::{Taken, Usage};
pub use listeners::{Connections, Listener};
pub use news::Reader;
pub use process::{Command, Output, Process, Program, Redraw};
pub use share::Shared;
pub use target::Target;

/// Why something does not work, and what to do, where the pod has no agent.
pub const WITHOUT_AGENT: &str = "this DevServer's pod has no agent: ask your administrator to set operator.agent; \
                                 then `devctl suspend NAME` and `devctl resume NAME` make a pod that has one";

/// Why somebody is not in her workspace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server could not be asked.
    #[error("failed to reach the Kubernetes API")]
    Api(#[source] kube::Error),
    /// The API server refused an exec.
    #[error("the API server refused the exec ({code}): {message}")]
    Refused { code: u16, message: String },
    /// The exec was made but its program did not start.
    #[error("the program did not start: {0}")]
    NotStarted(String),
    /// The container's image has no shell that could run a command.
    #[error("the image has no shell")]
    NoShell,
    /// What is asked for needs the agent, and the pod has none.
    #[error("the pod has no agent")]
    NoAgent,
    /// It does not know what is asked for.
    #[error("the pod's agent is older than this server")]
    OldAgent,
    /// The carrier has as many streams as it may have.
    #[error("too many streams to the pod")]
    TooManyStreams,
    /// The connection was not made, or nothing listens.
    #[error("the pod could not: {0}")]
    Unreachable(String),
    /// The exec's connection broke before the program ended.
    #[error("the connection to the pod was lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The other side speaks something else.
    #[error("unexpected from the exec: {0}")]
    Protocol(&'static str),
    /// The carrier to the pod's agent ended.
    #[error("the carrier ended")]
    Carrier(#[source] crate::carrier::Error),
    /// Nobody knows whether the command has begun.
    #[error("the stream was lost before the program answered")]
    Unanswered,
    /// A session was away from its shell for so long that its carrier was given up, and the agent does not lead it
    /// back.
    #[error("no way back to the shell: {0}")]
    NoWayBack(String),
    /// Its user did not wait for that.
    #[error("left while the pod was away")]
    Left,
    /// Longer than a kernel takes as one argument, or, on a terminal, than a request takes.
    #[error("the command is too long")]
    CommandTooLong,
    /// On a terminal, of a pod without an agent.
    #[error("the command is not UTF-8")]
    CommandNotText,
    /// The user's namespace or rights could not be made.
    #[error("failed to provision the user")]
    Provisioning(#[from] crate::provisioning::Error),
    /// The API server does not let it be made.
    #[error("{what} was not made: {message}")]
    NotMade { what: &'static str, message: String },
    /// She has no DevServer of that name.
    #[error("user {user} has no DevServer {name}")]
    NoSuchDevServer { user: String, name: String, existing: Vec<String> },
    /// It is shared with her to look at.
    #[error("{name} is shared with her to look at only")]
    ReadOnly { name: String },
    /// Who may only look wakes nothing.
    #[error("{name} does not run")]
    NotRunning { name: String },
    /// The DevServer cannot run as it is.
    #[error("DevServer {name} failed: {message}")]
    Failed { name: String, message: String },
    /// The API server does not let her wake it, or something keeps putting it to sleep.
    #[error("DevServer {name} was not woken: {message}")]
    NotWoken { name: String, message: String },
    /// It did not become ready in time.
    #[error("DevServer {name} was not ready in time: {message}")]
    TimedOut { name: String, message: String },
}

impl Error {
    /// That `what` of hers could not be made.
    fn of_making(what: &'static str, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if is_unwilling(&status) => Self::NotMade { what, message: status.message },
            error => Self::Api(error),
        }
    }

    /// What the person at the terminal should read: what is wrong and what to do.
    pub fn user_message(&self) -> String {
        match self {
            Self::Api(_) => "the cluster does not answer; try again in a minute".to_owned(),
            Self::Refused { code: 403, .. } => {
                "the cluster refuses you this pod; ask your administrator (the log tells why)".to_owned()
            }
            error if error.node_is_away() => {
                "your pod's node does not answer; log in again later, and tell your administrator if it stays so"
                    .to_owned()
            }
            Self::Refused { message, .. } => format!("the cluster cannot enter your pod: {message}"),
            Self::NotStarted(message) => format!("your pod could not start the program: {message}"),
            Self::Unreachable(why) => format!("your pod could not do this: {why}"),
            Self::OldAgent => {
                "the pod's agent is too old for this; `devctl suspend NAME` and `devctl resume NAME` make a new pod"
                    .to_owned()
            }
            Self::TooManyStreams => {
                "too many programs and connections are open in your pod; close some, and try again".to_owned()
            }
            Self::NoShell => {
                "this DevServer's image has no shell (sh), and a command needs one; use an image that has one"
                    .to_owned()
            }
            Self::NoAgent => {
                format!(
                    "sftp, forwards and shells that last do not work here, but scp -O does where the image has scp; \
                     {WITHOUT_AGENT}"
                )
            }
            Self::Lost(_) | Self::Carrier(_) => "the connection to your pod was lost; log in again".to_owned(),
            Self::Unanswered => {
                "the connection to your pod was lost before it answered; the command may have run".to_owned()
            }
            Self::NoWayBack(why) => format!("could not return to your shell: {why}; log in again for a new one"),
            Self::Left => "your shell goes on in the pod; log in again to be back in it".to_owned(),
            Self::Protocol(what) => format!(
                "unexpected data from your pod's node ({what}); log in again, and tell your administrator if it recurs"
            ),
            Self::CommandTooLong => {
                "the command is too long; put it into a file, or send it on stdin to `sh -s`".to_owned()
            }
            Self::CommandNotText => format!("commands on a terminal must be UTF-8 here: {WITHOUT_AGENT}"),
            Self::Provisioning(error) => error.user_message(),
            Self::NotMade { what, message } => {
                format!("the cluster does not let your {what} be made: {message}; ask your administrator")
            }
            Self::NoSuchDevServer { name, existing, .. } if existing.is_empty() => {
                format!(
                    "you have no DevServer `{name}`, and no other; log in without `+{name}` to get your default one"
                )
            }
            Self::NoSuchDevServer { name, existing, .. } => {
                format!("you have no DevServer `{name}`; you have: {}", existing.join(", "))
            }
            Self::ReadOnly { name } => format!(
                "`{name}` is shared with you to look at only: `ssh -t … shells` lists its shells and shows one to you"
            ),
            Self::NotRunning { name } => {
                format!("`{name}` is not running, and who may only look cannot start it: ask its owner")
            }
            Self::Failed { name, message } => format!("DevServer `{name}` cannot run: {message}"),
            Self::NotWoken { name, message } => {
                format!("DevServer `{name}` is suspended and could not be resumed: {message}")
            }
            Self::TimedOut { name, message } => {
                format!("DevServer `{name}` is not ready yet ({message}); it is still starting, log in again later")
            }
        }
    }

    /// Whether the pod that the cache knew is not there (any more), so that waiting for the next one helps.
    fn pod_is_gone(&self) -> bool {
        match self {
            Self::Refused { code: 404, .. } => true,
            Self::Refused { message, .. } | Self::NotStarted(message) => {
                let signs =
                    ["container not found", "not running", "completed pod", "does not have a host", "not found in pod"];
                signs.iter().any(|sign| message.contains(sign)) || container_has_ended(message)
            }
            _ => false,
        }
    }

    /// Whether the API server or the node was away rather than unwilling.
    fn is_outage(&self) -> bool {
        matches!(self, Self::Api(_) | Self::Refused { code: 429 | 500.., .. } | Self::Lost(_))
    }

    /// Whether the API server could not reach the pod's kubelet.
    fn node_is_away(&self) -> bool {
        matches!(self, Self::Refused { code: 500.., message } if message.contains("error dialing backend"))
    }
}

/// Whether the API server refuses what it was asked, and will the next time.
fn is_unwilling(status: &Status) -> bool {
    (400..500).contains(&status.code) && status.code != 429
}

/// containerd has many words for a container that has just ended; what runc says is mostly of the program.
fn container_has_ended(message: &str) -> bool {
    let said = message.split_once("failed to exec in container: ").map(|(_, said)| said);
    said.is_some_and(|said| !said.contains("OCI runtime exec failed") || said.contains("stopped container"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_refuses_is_not_one_that_is_away() {
        let made = |code| {
            let said = Status { code, message: "no more".to_owned(), ..Status::default() };
            Error::of_making("DevServer", kube::Error::Api(Box::new(said))).user_message()
        };
        for code in [403, 422] {
            assert_eq!(made(code), "the cluster does not let your DevServer be made: no more; ask your administrator");
        }
        for code in [429, 500, 503] {
            assert!(made(code).contains("does not answer"));
        }
    }
}
