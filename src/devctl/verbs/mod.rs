//! The verbs, one file each: its arguments, and what it does.

mod create;
mod delete;
mod enter;
mod flavors;
mod laptop;
mod list;
mod resume;
mod spec;
mod suspend;
mod version;

pub use enter::{Enter, Program};
pub(super) use laptop::Laptop;

use clap::Subcommand;

use super::{Caller, Error};

/// What can be done with DevServers.
#[derive(Subcommand)]
pub enum Verb {
    /// List your DevServers
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Make a DevServer; on a terminal it asks what is not said
    Create(create::Args),
    /// Delete DevServers; their homes are kept unless you say otherwise
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
    /// Put a DevServer to sleep: its pod is given back, its home is kept
    Suspend(suspend::Args),
    /// Wake a DevServer
    Resume(resume::Args),
    /// List the sizes that DevServers come in
    Flavors(flavors::Args),
    /// Print the version
    Version(version::Args),
}

impl Verb {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        match self {
            Self::List(args) => args.run(caller).await,
            Self::Create(args) => args.run(caller).await,
            Self::Delete(args) => args.run(caller).await,
            Self::Suspend(args) => args.run(caller).await,
            Self::Resume(args) => args.run(caller).await,
            Self::Flavors(args) => args.run(caller).await,
            Self::Version(args) => args.run(caller).await,
        }
    }
}
