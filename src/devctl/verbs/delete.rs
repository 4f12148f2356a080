//! `devctl delete`.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::DeleteParams;

use super::home::Kept;
use crate::api::{DevServer, names};
use crate::devctl::output::{self, OutputArgs, Table};
use crate::devctl::{Caller, Error, Exit};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServers [default: NAME, if you logged in as USER+NAME]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Delete their homes too, for good
    #[arg(long)]
    with_home: bool,
    /// Do not ask; needed where a home is lost and there is no terminal to ask on
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let names = match self.names.is_empty() {
            true => vec![caller.chosen_name(None)?],
            false => self.names,
        };
        // All of them are there, or nothing is deleted.
        let (mut homes, mut servers) = (Vec::new(), Vec::new());
        for name in names {
            if homes.iter().all(|(other, _)| *other != name) {
                let (home, server) = find(caller, &name, self.with_home).await?;
                homes.push((name, home));
                servers.extend(server);
            }
        }
        let question = question(&homes, self.with_home);
        match homes.iter().any(|(_, home)| goes(home, self.with_home)) {
            true => caller.confirm_loss(&question, self.yes).await?,
            false => caller.confirm(&question, self.yes).await?,
        }
        for (name, home) in &homes {
            delete(caller, name, home, self.with_home).await?;
        }
        // As they were.
        match servers.as_slice() {
            _ if self.output.format.is_table() => Ok(()),
            [server] => output::changed(caller, self.output.format, server).await,
            servers => output::list(caller, self.output.format, servers, Table::new(&[])).await,
        }
    }
}

/// What goes, and what stays.
fn question(homes: &[(String, Kept)], with_home: bool) -> String {
    let names = |these: &dyn Fn(&Kept) -> bool| {
        let those = homes.iter().filter(|(_, home)| these(home));
        those.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let lost = names(&|home| goes(home, with_home));
    let stays = names(&|home| !goes(home, with_home));
    let all = names(&|_| true);
    match (lost.as_str(), stays.as_str()) {
        (_, "") => format!("Delete {all} and all that is in the home?"),
        ("", _) => format!("Delete {all}? The home is kept."),
        _ => format!("Delete {all}? The home of {stays} is kept, all that is in that of {lost} is lost."),
    }
}

/// Whether what is in the home is lost for good.
fn goes(home: &Kept, with_home: bool) -> bool {
    match home {
        Kept::Nowhere => true,
        Kept::Own(_) => with_home,
        Kept::Existing(_) => false,
    }
}

/// That there is such a DevServer, or at least the home of one, if that is to go.
async fn find(caller: &Caller, name: &str, with_home: bool) -> Result<(Kept, Option<DevServer>), Error> {
    match caller.devserver(name).await {
        Ok(server) => Ok((Kept::of(&server), Some(server))),
        Err(error) if error.exit == Exit::NotFound && with_home && names::is_devserver_name(name) => {
            let claim = names::home_claim(name);
            let left = caller.api::<PersistentVolumeClaim>().get_opt(&claim).await.map_err(Error::of_api)?;
            left.map(|_| (Kept::Own(claim), None)).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

async fn delete(caller: &Caller, name: &str, home: &Kept, with_home: bool) -> Result<(), Error> {
    let parameters = DeleteParams::background();
    match caller.api::<DevServer>().delete(name, &parameters).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 && with_home => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(caller.no_devserver(name).await),
        Err(error) => return Err(Error::of_api(error)),
    }
    let claims = caller.api::<PersistentVolumeClaim>();
    let said = match home {
        Kept::Nowhere => format!("`{name}` is deleted, and what was in its home with it: it was ephemeral."),
        Kept::Existing(claim) if with_home => format!(
            "`{name}` is deleted. Its home {claim} is kept: it was there before, and may be somebody else's as well."
        ),
        Kept::Existing(claim) => format!("`{name}` is deleted. Its home {claim} is kept."),
        Kept::Own(claim) if with_home => match claims.delete(claim, &parameters).await {
            Ok(_) => format!("`{name}` and its home {claim} are deleted."),
            Err(kube::Error::Api(status)) if status.code == 404 => format!("`{name}` is deleted; it had no home yet."),
            Err(error) => return Err(Error::of_api(error)),
        },
        Kept::Own(claim) => match claims.get_opt(claim).await.map_err(Error::of_api)? {
            Some(_) => format!(
                "`{name}` is deleted. Its home {claim} is kept, for the next DevServer of that name; \
                 `devctl delete {name} --with-home` deletes that too."
            ),
            None => format!("`{name}` is deleted; it had no home yet."),
        },
    };
    caller.say(&said).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_what_happens() {
        let own = || ("a".to_owned(), Kept::Own("a-home".to_owned()));
        let existing = || ("b".to_owned(), Kept::Existing("data".to_owned()));
        let ephemeral = || ("c".to_owned(), Kept::Nowhere);
        assert_eq!(question(&[own()], false), "Delete `a`? The home is kept.");
        assert_eq!(question(&[own()], true), "Delete `a` and all that is in the home?");
        assert_eq!(question(&[existing()], true), "Delete `b`? The home is kept.");
        assert_eq!(question(&[ephemeral()], false), "Delete `c` and all that is in the home?");
        assert_eq!(
            question(&[own(), ephemeral()], false),
            "Delete `a`, `c`? The home of `a` is kept, all that is in that of `c` is lost."
        );
    }
}
