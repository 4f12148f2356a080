//! `devctl snooze`.

use serde_json::json;

use super::extend::later;
use super::list::phase;
use crate::api::{Phase, TimeSpan};
use crate::devctl::output::{self, OutputArgs};
use crate::devctl::{Caller, Error, time};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
    /// For how long
    #[arg(long, short, value_name = "TIME", default_value = "4h", value_parser = time::parser())]
    time: TimeSpan,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.name(self.name)?;
        let server = caller.devserver(&name).await?;
        if phase(&server) == Phase::Suspended {
            return Err(Error::failed(format!("`{name}` is already suspended; `devctl resume {name}` resumes it")));
        }
        let now = caller.now();
        let until = later(now, &self.time)?;
        let snoozed = caller.patch(&name, json!({"spec": {"lifecycle": {"snoozedUntil": until}}})).await?;
        let expiration = server.status.and_then(|status| status.expiration_time);
        let mut text = format!("`{name}` will not be suspended for being idle before {}.", time::point(&until, now));
        if let Some(end) = expiration.filter(|end| end.0 < until.0) {
            text += &format!(
                " But its time is over before that, {}: `devctl extend {name}` gives it more.",
                time::relative(&end, now)
            );
        }
        output::changed_or(caller, self.output.format, &snoozed, &text).await
    }
}
