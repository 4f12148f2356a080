//! The verbs, one file each: its arguments, and what it does; and what several of them share.

mod complete;
mod config;
mod create;
mod delete;
mod describe;
mod enter;
mod extend;
mod flavors;
mod home;
mod idle;
mod laptop;
mod list;
mod logs;
mod refused;
mod reset;
mod resume;
mod share;
mod shared;
mod snooze;
mod spec;
mod startup_script;
mod suspend;
mod top;
mod update;
mod users;
mod values;
mod version;
mod whoami;
mod why;

pub use enter::Enter;
pub(super) use enter::ShellsArgs;
pub(super) use laptop::Laptop;
pub(super) use resume::running;
pub(super) use whoami::Who;

use clap::Subcommand;

use super::{Caller, Error};

/// What can be done with DevServers.
#[derive(Subcommand)]
pub enum Verb {
    /// List your DevServers
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Create a DevServer; without a name, on a terminal, asks what it should be
    Create(create::Args),
    /// Show everything about a DevServer
    Describe(describe::Args),
    /// Change the flavor, image or other settings of a DevServer
    Update(update::Args),
    /// Delete DevServers; their homes are kept unless you say otherwise
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
    /// Print what a DevServer's own command wrote
    Logs(logs::Args),
    /// Let a DevServer run longer
    Extend(extend::Args),
    /// Keep a DevServer from being suspended for being idle
    Snooze(snooze::Args),
    /// Suspend a DevServer: its pod is given back, its home is kept
    Suspend(suspend::Args),
    /// Resume a suspended DevServer
    Resume(resume::Args),
    /// Show, grant or revoke other users' access to a DevServer
    Share(share::Args),
    /// Show how a DevServer is used, and what happens when it is not
    Idle(idle::Args),
    /// Show what a DevServer is waiting for, or why it stopped, and what to do
    Why(why::Args),
    /// List the flavors: the sizes that DevServers come in
    Flavors(flavors::Args),
    /// Show what your DevServers use, and your quota
    Top(top::Args),
    /// Add, remove and list users, and their keys (for administrators)
    Users(users::Args),
    /// Print what ssh must know to reach DevServers as hosts: a line for ~/.ssh/known_hosts
    Config(config::Args),
    /// Show who you are here, and which DevServer is meant where you name none
    Whoami(whoami::Args),
    /// Print the version
    Version(version::Args),
    /// Print names, one a line, for a shell to complete
    #[command(hide = true)]
    Complete(complete::Args),
}

impl Verb {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        match self {
            Self::List(args) => args.run(caller).await,
            Self::Create(args) => args.run(caller).await,
            Self::Describe(args) => args.run(caller).await,
            Self::Update(args) => args.run(caller).await,
            Self::Delete(args) => args.run(caller).await,
            Self::Logs(args) => args.run(caller).await,
            Self::Extend(args) => args.run(caller).await,
            Self::Snooze(args) => args.run(caller).await,
            Self::Suspend(args) => args.run(caller).await,
            Self::Resume(args) => args.run(caller).await,
            Self::Share(args) => args.run(caller).await,
            Self::Idle(args) => args.run(caller).await,
            Self::Why(args) => args.run(caller).await,
            Self::Flavors(args) => args.run(caller).await,
            Self::Top(args) => args.run(caller).await,
            Self::Users(args) => args.run(caller).await,
            Self::Config(args) => args.run(caller).await,
            Self::Whoami(args) => args.run(caller).await,
            Self::Version(args) => args.run(caller).await,
            Self::Complete(args) => args.run(caller).await,
        }
    }
}
