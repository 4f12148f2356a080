//! `devctl complete`: what the completion scripts of a laptop ask for.

use clap::ValueEnum;
use kube::ResourceExt;

use super::{flavors, list, users};
use crate::api::Phase;
use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    /// Names of what
    kind: Kind,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Devservers,
    /// DevServers that can be looked into without waking them
    Running,
    /// The one that is meant where none is named
    Default,
    Flavors,
    Users,
    /// No names: the bastion's clock, in seconds since 1970
    Clock,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let names: Vec<String> = match self.kind {
            Kind::Devservers => caller.devservers().await?.iter().map(ResourceExt::name_any).collect(),
            Kind::Running => {
                let servers = caller.devservers().await?;
                let running = servers.iter().filter(|server| list::phase(server) == Phase::Running);
                running.map(ResourceExt::name_any).collect()
            }
            Kind::Default => caller.devserver.iter().cloned().collect(),
            Kind::Clock => vec![caller.now().as_second().to_string()],
            Kind::Flavors => flavors::fetch(caller).await?.iter().map(ResourceExt::name_any).collect(),
            Kind::Users => users::fetch(caller).await?.iter().map(ResourceExt::name_any).collect(),
        };
        let text: String = names.into_iter().map(|name| name + "\n").collect();
        caller.print(&text).await;
        Ok(())
    }
}
