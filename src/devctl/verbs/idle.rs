//! `devctl idle`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::list::phase;
use crate::api::{DevServer, IdleAction, IdleRule, Suspension};
use crate::devctl::output::{self, Fields, OutputArgs};
use crate::devctl::{Caller, Error, time};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let Some(server) = output::shown(caller, self.name, self.output.format).await? else { return Ok(()) };
        let name = server.name_any();
        let mut fields = Fields::default();
        fields.put("Name", server.name_any());
        fields.put("Status", format!("{:?}", phase(&server)));
        rules(&server, caller.now(), &mut fields);
        if let Some(planned) = server.status.as_ref().and_then(|status| status.suspension.as_ref()) {
            suspension(planned, caller.now(), &mut fields);
        }
        let text = match caller.beyond.usage(&name).await {
            Ok(usage) => format!("{}\n{}", fields.render(), usage.explain(caller.now())),
            Err(why) => {
                use_of(&server, caller.now(), &mut fields);
                fields.put("Last hour", format!("not known: {why}"));
                fields.render()
            }
        };
        caller.print(&caller.advice(&text)).await;
        Ok(())
    }
}

/// The signs of use.
pub(super) fn use_of(server: &DevServer, now: Timestamp, fields: &mut Fields) {
    let Some(activity) = server.status.as_ref().and_then(|status| status.activity.as_ref()) else {
        fields.put("In use", "not known yet");
        return;
    };
    let mut signs: Vec<_> = activity.signs().into_iter().filter_map(|(sign, time)| Some((time?, sign))).collect();
    signs.sort_unstable_by(|one, other| other.cmp(one));
    let signs = signs.into_iter().map(|(time, sign)| format!("{sign} {}", time::relative(&Time(time), now)));
    let signs: Vec<_> = signs.collect();
    fields.put("In use", activity.awake.as_deref().unwrap_or("no"));
    fields.put("Signs of use", if signs.is_empty() { "none was seen yet".to_owned() } else { signs.join(", ") });
    fields.put("Programs", activity.programs.to_string());
    fields.put("Forwards", activity.forwards.to_string());
}

/// What happens when it is not used.
pub(super) fn rules(server: &DevServer, now: Timestamp, fields: &mut Fields) {
    let lifecycle = server.spec.lifecycle.clone().unwrap_or_default();
    fields.put("When idle", when_idle(server));
    if let Some(until) = lifecycle.snoozed_until.filter(|until| until.0 > now) {
        fields.put("Snoozed", format!("until {}", time::point(&until, now)));
    }
}

/// That it is suspended, or will be.
pub(super) fn suspension(suspension: &Suspension, now: Timestamp, fields: &mut Fields) {
    fields.put("Suspension", format!("{}: {}", time::point(&suspension.time, now), suspension.sentence()));
}

/// By what the operator tells of this spec, if it has seen it yet.
fn when_idle(server: &DevServer) -> String {
    let told = server.status.as_ref().filter(|status| status.observed_generation == server.metadata.generation);
    match told.and_then(|status| status.idle.as_ref()) {
        Some(IdleRule { after: Some(after), action: IdleAction::Suspend }) => {
            format!("suspended when unused for {}", after.0)
        }
        Some(IdleRule { .. }) => "nothing happens".to_owned(),
        None => "not told by the operator yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_the_operator_says_is_told() {
        let told = |generation: i64, idle: Value| {
            let server: DevServer = serde_json::from_value(json!({
                "apiVersion": "devserver.io/v1", "kind": "DevServer", "spec": {},
                "metadata": { "name": "dev", "generation": 2 },
                "status": { "observedGeneration": generation, "idle": idle },
            }))
            .unwrap();
            when_idle(&server)
        };
        let cases = [
            (2, json!({ "after": "90m", "action": "Suspend" }), "suspended when unused for 90m"),
            (2, json!({ "action": "Suspend" }), "nothing happens"),
            (2, json!({ "action": "None" }), "nothing happens"),
            (2, Value::Null, "not told by the operator yet"),
            (1, json!({ "after": "90m", "action": "Suspend" }), "not told by the operator yet"),
        ];
        for (generation, idle, text) in cases {
            assert_eq!(told(generation, idle.clone()), text, "{generation} {idle}");
        }
    }
}
