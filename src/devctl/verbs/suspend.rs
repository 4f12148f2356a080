//! `devctl suspend`.

use serde_json::json;

use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer
    name: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.chosen_name(self.name)?;
        let server = caller.devserver(&name).await?;
        if server.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.suspended) {
            caller.say(&format!("`{name}` sleeps already; `devctl resume {name}` wakes it.")).await;
            return Ok(());
        }
        let programs = server.status.and_then(|status| status.activity).map_or(0, |activity| activity.programs);
        if programs > 0 {
            caller
                .confirm(
                    &format!("{programs} programs of sessions run in `{name}` and will end. Suspend it?"),
                    self.yes,
                )
                .await?;
        }
        caller.patch(&name, json!({"spec": {"lifecycle": {"suspended": true}}})).await?;
        caller
            .say(&format!("`{name}` goes to sleep; its home is kept. `devctl resume {name}`, or a login, wakes it."))
            .await;
        Ok(())
    }
}
