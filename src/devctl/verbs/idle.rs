//! `devctl idle`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::list::phase;
use crate::api::{DevServer, IdleAction, SuspensionReason};
use crate::devctl::output::Fields;
use crate::devctl::{Caller, Error, time};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.name(self.name)?;
        let server = caller.devserver(&name).await?;
        let mut fields = Fields::default();
        fields.put("Name", server.name_any());
        fields.put("Status", format!("{:?}", phase(&server)));
        use_of(&server, caller.now(), &mut fields);
        rules(&server, caller.now(), &mut fields);
        caller.print(&fields.render()).await;
        Ok(())
    }
}

/// The signs of use.
pub(super) fn use_of(server: &DevServer, now: Timestamp, fields: &mut Fields) {
    let Some(activity) = server.status.as_ref().and_then(|status| status.activity.as_ref()) else {
        fields.put("Use", "none was seen yet");
        return;
    };
    let ago = |time: &Option<Time>| time.as_ref().map_or_else(|| "never".to_owned(), |time| time::relative(time, now));
    fields.put("Last typed", ago(&activity.last_input_time));
    fields.put("Last output", ago(&activity.last_output_time));
    fields.put("Last forwarded", ago(&activity.last_forward_time));
    fields.put("Programs", activity.programs.to_string());
    fields.put("Forwards", activity.forwards.to_string());
}

/// What happens when it is not used.
pub(super) fn rules(server: &DevServer, now: Timestamp, fields: &mut Fields) {
    let lifecycle = server.spec.lifecycle.clone().unwrap_or_default();
    let idle = lifecycle.idle.unwrap_or_default();
    let after = idle.after.map_or_else(|| "the time that the operator sets".to_owned(), |after| after.0);
    match idle.action {
        IdleAction::Suspend => fields.put("When idle", format!("suspended when unused for {after}")),
        IdleAction::None => fields.put("When idle", "nothing happens"),
    }
    if let Some(until) = lifecycle.snoozed_until.filter(|until| until.0 > now) {
        fields.put("Snoozed", format!("until {}", time::point(&until, now)));
    }
    let suspension = server.status.as_ref().and_then(|status| status.suspension.as_ref());
    if let Some(suspension) = suspension.filter(|suspension| suspension.reason == SuspensionReason::Idle) {
        fields.put("Suspension", format!("{}: {}", time::point(&suspension.time, now), suspension.message));
    }
}
