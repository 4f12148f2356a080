//! `devctl suspend`.

use serde_json::json;

use super::home::Kept;
use crate::devctl::output::{self, OutputArgs};
use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: NAME, if you logged in as USER+NAME]
    name: Option<String>,
    /// Do not ask; needed where an ephemeral home is lost and there is no terminal to ask on
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.chosen_name(self.name)?;
        let server = caller.devserver(&name).await?;
        if server.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.suspended) {
            caller.say(&format!("`{name}` is already suspended; `devctl resume {name}` resumes it.")).await;
            return output::changed(caller, self.output.format, &server).await;
        }
        let home = Kept::of(&server);
        let programs = server.status.and_then(|status| status.activity).map_or(0, |activity| activity.programs);
        let ends = match programs {
            0 => None,
            1 => Some(format!("A program of a session runs in `{name}` and will end")),
            more => Some(format!("{more} programs of sessions run in `{name}` and will end")),
        };
        let lost = (home == Kept::Nowhere).then(|| format!("What is in the home of `{name}` is lost: it is ephemeral"));
        let reasons: Vec<String> = ends.into_iter().chain(lost).collect();
        let question = format!("{}. Suspend it?", reasons.join(". "));
        match home {
            Kept::Nowhere => caller.confirm_loss(&question, self.yes).await?,
            _ if !reasons.is_empty() => caller.confirm(&question, self.yes).await?,
            _ => {}
        }
        let server = caller.patch(&name, json!({"spec": {"lifecycle": {"suspended": true}}})).await?;
        caller
            .say(&format!(
                "`{name}` is being suspended; {}. `devctl resume {name}`, or a login, resumes it.",
                home.without_pod("its")
            ))
            .await;
        output::changed(caller, self.output.format, &server).await
    }
}
