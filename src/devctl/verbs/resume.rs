//! `devctl resume`.

use std::time::Duration;

use serde_json::json;

use super::list::phase;
use crate::api::{DevServer, Phase, TimeSpan};
use crate::devctl::output::{self, OutputArgs};
use crate::devctl::{Caller, Error, time, wait};

/// As a login waits.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
    /// Wait until it runs, and show what it waits for
    #[arg(long, short)]
    wait: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(clap::Args)]
pub(super) struct Waiting {
    /// How long to wait at most
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "wait", value_parser = time::parser())]
    timeout: TimeSpan,
}

impl Waiting {
    pub(super) fn limit(&self) -> Duration {
        self.timeout.get().unwrap_or(Duration::MAX)
    }
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.name(self.name)?;
        let (server, suspended) = resume(caller, &name).await?;
        if self.wait {
            let generation = server.metadata.generation.unwrap_or_default();
            wait::until_running(caller, &name, generation, self.waiting.limit()).await?;
            caller.say(&format!("`{name}` runs; `devctl ssh {name}` enters it.")).await;
        } else if suspended {
            caller.say(&format!("`{name}` resumes; `devctl ssh {name}` waits for it and enters it.")).await;
        } else {
            caller.say(&format!("`{name}` is not suspended.")).await;
        }
        // As it is now, if it was waited for.
        let server = if self.wait { caller.devserver(&name).await? } else { server };
        output::changed(caller, self.output.format, &server).await
    }
}

/// The DevServer `name`, not suspended; whether it was.
async fn resume(caller: &Caller, name: &str) -> Result<(DevServer, bool), Error> {
    let server = caller.devserver(name).await?;
    match server.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.suspended) {
        true => Ok((caller.patch(name, json!({"spec": {"lifecycle": {"suspended": false}}})).await?, true)),
        false => Ok((server, false)),
    }
}

/// The DevServer `name`, once it runs, for somebody who is about to enter it.
pub(in crate::devctl) async fn running(caller: &Caller, name: &str) -> Result<DevServer, Error> {
    let (server, suspended) = resume(caller, name).await?;
    if !suspended && phase(&server) == Phase::Running {
        return Ok(server);
    }
    let generation = server.metadata.generation.unwrap_or_default();
    wait::until_running(caller, name, generation, PATIENCE).await?;
    caller.devserver(name).await
}
