//! `devctl complete`: what the completion scripts of a laptop ask for.

use clap::ValueEnum;
use kube::ResourceExt;

use super::{flavors, users};
use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    /// Names of what
    kind: Kind,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Devservers,
    Flavors,
    Users,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let names: Vec<String> = match self.kind {
            Kind::Devservers => caller.devservers().await?.iter().map(ResourceExt::name_any).collect(),
            Kind::Flavors => flavors::fetch(caller).await?.iter().map(ResourceExt::name_any).collect(),
            Kind::Users => users::fetch(caller).await?.iter().map(ResourceExt::name_any).collect(),
        };
        let text: String = names.into_iter().map(|name| name + "\n").collect();
        caller.print(&text).await;
        Ok(())
    }
}
