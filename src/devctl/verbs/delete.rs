//! `devctl delete`.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::DeleteParams;

use crate::api::{DevServer, names};
use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServers
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Delete their homes too, for good
    #[arg(long)]
    with_home: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let names = match self.names.is_empty() {
            true => vec![caller.chosen_name(None)?],
            false => self.names,
        };
        // All of them are there, or nothing is deleted.
        for name in &names {
            find(caller, name, self.with_home).await?;
        }
        let what = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let question = match self.with_home {
            true => format!("Delete {what} and all that is in the home?"),
            false => format!("Delete {what}? The home is kept."),
        };
        caller.confirm(&question, self.yes).await?;
        for name in &names {
            delete(caller, name, self.with_home).await?;
        }
        Ok(())
    }
}

/// That there is such a DevServer, or at least the home of one, if that is to go.
async fn find(caller: &Caller, name: &str, with_home: bool) -> Result<(), Error> {
    if with_home && names::is_devserver_name(name) {
        let claims = caller.api::<PersistentVolumeClaim>();
        if claims.get_opt(&names::home_claim(name)).await.map_err(Error::of_api)?.is_some() {
            return Ok(());
        }
    }
    caller.devserver(name).await.map(drop)
}

async fn delete(caller: &Caller, name: &str, with_home: bool) -> Result<(), Error> {
    let parameters = DeleteParams::background();
    match caller.api::<DevServer>().delete(name, &parameters).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 && with_home => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(caller.no_devserver(name).await),
        Err(error) => return Err(Error::of_api(error)),
    }
    let claim = names::home_claim(name);
    if !with_home {
        caller
            .say(&format!(
                "`{name}` is deleted. Its home {claim} is kept, for the next DevServer of that name; \
                 `devctl delete {name} --with-home` deletes that too."
            ))
            .await;
        return Ok(());
    }
    match caller.api::<PersistentVolumeClaim>().delete(&claim, &parameters).await {
        Ok(_) => caller.say(&format!("`{name}` and its home {claim} are deleted.")).await,
        Err(kube::Error::Api(status)) if status.code == 404 => {
            caller.say(&format!("`{name}` is deleted; it had no home.")).await;
        }
        Err(error) => return Err(Error::of_api(error)),
    }
    Ok(())
}
