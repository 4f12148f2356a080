//! `devctl whoami`.

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::names;
use crate::devctl::output::{self, Fields, Format, OutputArgs};
use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

/// Whoever asks, as whoever answers sees her. `devctl doctor` and completion read it, too.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::devctl) struct Who {
    user: Option<String>,
    namespace: String,
    /// The one that is meant where none is named.
    pub(in crate::devctl) dev_server: Option<String>,
    /// Where the answer comes from.
    pub(in crate::devctl) time: Timestamp,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let who = Who {
            // An administrator asks about whatever namespace, and is not its user.
            user: names::user_of(&caller.namespace).filter(|_| caller.beyond.server().is_none()).map(str::to_owned),
            namespace: caller.namespace.clone(),
            dev_server: caller.devserver.clone(),
            // Whole seconds, as the API has times.
            time: Timestamp::from_second(caller.now().as_second()).unwrap_or_default(),
        };
        let text = match self.output.format {
            Format::Table | Format::Wide => who.fields().render(),
            Format::Json => output::pretty(&who)?,
            Format::Yaml => output::yaml(&who)?,
            Format::Name => format!("{}\n", who.user.as_ref().unwrap_or(&who.namespace)),
        };
        caller.print(&text).await;
        Ok(())
    }
}

impl Who {
    fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        fields.put_some("User", self.user.as_ref());
        fields.put("Namespace", &self.namespace);
        fields.put_some("DevServer", self.dev_server.as_ref());
        fields.put("Time", self.time.to_string());
        fields
    }
}
