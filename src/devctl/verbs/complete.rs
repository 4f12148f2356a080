//! `devctl complete`: what the completion scripts of a laptop ask for.

use std::collections::BTreeSet;

use clap::ValueEnum;
use kube::ResourceExt;

use super::{flavors, list, users};
use crate::api::Phase;
use crate::devctl::{Caller, Error};
use crate::workspace::Shared;

#[derive(clap::Args)]
pub struct Args {
    /// Names of what
    kind: Kind,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Devservers,
    /// DevServers, and those of others that she may enter
    Enterable,
    /// Of these, those that can be looked into without waking them
    Running,
    Flavors,
    Users,
    /// Users, as far as she may know of them
    People,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let names: Vec<String> = match self.kind {
            Kind::Devservers => caller.devservers().await?.iter().map(ResourceExt::name_any).collect(),
            Kind::Enterable => {
                let own = caller.devservers().await?;
                let others = enterable(caller).map(|shared| shared.name);
                own.iter().map(ResourceExt::name_any).chain(others).collect()
            }
            Kind::Running => {
                let own = caller.devservers().await?;
                let own = own.iter().filter(|server| list::phase(server) == Phase::Running);
                let others = enterable(caller).filter(|shared| shared.phase == Phase::Running);
                own.map(ResourceExt::name_any).chain(others.map(|shared| shared.name)).collect()
            }
            Kind::Flavors => flavors::fetch(caller).await?.iter().map(ResourceExt::name_any).collect(),
            Kind::Users => users::fetch(caller).await?.iter().map(ResourceExt::name_any).collect(),
            Kind::People => {
                let all = users::fetch(caller).await.unwrap_or_default();
                let guests = caller.devservers().await?.into_iter().flat_map(|server| server.spec.share);
                let hosts = caller.beyond.shared().unwrap_or_default().into_iter().map(|shared| shared.owner);
                let known = guests.map(|share| share.user).chain(hosts);
                let people: BTreeSet<String> = all.iter().map(ResourceExt::name_any).chain(known).collect();
                people.into_iter().collect()
            }
        };
        let text: String = names.into_iter().map(|name| name + "\n").collect();
        caller.print(&text).await;
        Ok(())
    }
}

/// The DevServers of others that she may work in.
fn enterable(caller: &Caller) -> impl Iterator<Item = Shared> {
    caller.beyond.shared().unwrap_or_default().into_iter().filter(|shared| !shared.read_only)
}
