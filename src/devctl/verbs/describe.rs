//! `devctl describe`.

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, VolumeMount};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;

use super::home::Kept;
use super::idle;
use super::list::phase;
use crate::api::{DevServer, EnvVar, Phase, RunAs, names};
use crate::devctl::output::{self, Fields, OutputArgs, Table};
use crate::devctl::{Caller, Error, time};
use crate::event::last_time;

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
        let now = caller.now();
        let (pods, claims) = (caller.api::<Pod>(), caller.api::<PersistentVolumeClaim>());
        let home = Kept::of(&server);
        let claim = async {
            match home.claim() {
                Some(claim) => claims.get_opt(claim).await,
                None => Ok(None),
            }
        };
        let (pod, claim) = tokio::try_join!(pods.get_opt(&name), claim).map_err(Error::of_api)?;
        let events = events(caller, &name).await?;
        let mut text = fields(&server, pod.as_ref(), claim.as_ref(), now).render();
        text += &steps(&server);
        text += &conditions(&server, now);
        text += &events_table(&events, now, caller.columns());
        caller.print(&caller.advice(&text)).await;
        Ok(())
    }
}

fn fields(server: &DevServer, pod: Option<&Pod>, claim: Option<&PersistentVolumeClaim>, now: Timestamp) -> Fields {
    let (spec, status) = (&server.spec, server.status.clone().unwrap_or_default());
    let lifecycle = spec.lifecycle.clone().unwrap_or_default();
    let default = || "(default)".to_owned();
    let mut fields = Fields::default();
    fields.put("Name", server.name_any());
    fields.put("Status", format!("{:?}", phase(server)));
    fields.put_some("Message", status.message);
    let end = status.last_end.as_ref();
    fields.put_some("Last end", end.map(|end| format!("{}: {}", time::point(&end.time, now), end.message)));
    fields.put("Flavor", spec.flavor.clone().unwrap_or_else(default));
    fields.put("Image", spec.image.clone().unwrap_or_else(default));
    fields.put_some("Command", spec.command.as_ref().map(|words| words.join(" ")));
    // The status tells of an agent while its pod runs.
    let agent = (phase(server) == Phase::Running).then_some(status.agent);
    fields.put_some("Pod", pod.map(|pod| pod_line(pod, agent)));
    fields.put("Home", home_line(server, claim));
    for volume in &spec.volumes {
        let how = if volume.read_only { " (read only)" } else { "" };
        fields.put("Volume", format!("{} at {}{how}", volume.claim, volume.mount_path));
    }
    for line in pod.map(team_volumes).unwrap_or_default() {
        fields.put("Team volume", line);
    }
    if spec.mount_team_volumes == Some(false) {
        fields.put("Team volumes", "not mounted, as its spec says");
    }
    for variable in &spec.env {
        fields.put("Env", variable_line(variable));
    }
    fields.put_some("Run as", spec.user.as_ref().map(run_as_line).filter(|line| !line.is_empty()));
    let has_token = spec.automount_service_account_token.then(|| "the token of its owner's account".to_owned());
    fields.put_some("Cluster API", has_token);
    let script = spec.startup_script.as_ref().map(|script| match script.lines().count() {
        1 => "1 line".to_owned(),
        lines => format!("{lines} lines"),
    });
    fields.put_some("Startup script", script);
    fields.put_some("Shared memory", spec.shm.as_ref().map(|size| size.0.clone()));
    fields.put_some("Created", server.metadata.creation_timestamp.as_ref().map(|at| time::point(at, now)));
    fields.put_some("Started", status.start_time.as_ref().map(|at| time::point(at, now)));
    fields.put_some("Time to live", lifecycle.time_to_live.map(|span| span.0));
    fields.put_some("Extended", lifecycle.extended_until.map(|at| format!("until {}", time::point(&at, now))));
    fields.put_some("Expires", status.expiration_time.as_ref().map(|at| time::point(at, now)));
    if let Some(suspension) = &status.suspension {
        idle::suspension(suspension, now, &mut fields);
    }
    if let Some(activity) = &status.activity {
        let peak = activity.peak_memory.as_ref();
        fields.put_some("Memory", peak.map(|peak| format!("{} in use at most since its container began", peak.0)));
        let ran_out = activity.last_out_of_memory_time.as_ref();
        fields.put_some("Out of memory", ran_out.map(|at| format!("a program was ended {}", time::point(at, now))));
    }
    idle::rules(server, now, &mut fields);
    idle::use_of(server, now, &mut fields);
    fields
}

fn pod_line(pod: &Pod, agent: Option<bool>) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node = node.map_or_else(|| "no node yet".to_owned(), |node| format!("node {node}"));
    let agent = agent.map(|has_one| if has_one { ", with its agent" } else { ", without an agent" });
    format!("{}, {node}{}", pod.name_any(), agent.unwrap_or_default())
}

/// What of her teams' is mounted, which her spec does not say.
fn team_volumes(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let team_of = |volume: &str| {
        let volume = spec.volumes.iter().flatten().find(|one| one.name == volume)?;
        names::team_of_claim(&volume.persistent_volume_claim.as_ref()?.claim_name)
    };
    let mounts = spec.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
    let line = |mount: &VolumeMount| {
        let how = if mount.read_only == Some(true) { " (read only)" } else { "" };
        Some(format!("of {} at {}{how}", team_of(&mount.name)?, mount.mount_path))
    };
    mounts.filter_map(line).collect()
}

fn home_line(server: &DevServer, claim: Option<&PersistentVolumeClaim>) -> String {
    let spec = claim.and_then(|claim| claim.spec.clone()).unwrap_or_default();
    let status = claim.and_then(|claim| claim.status.clone()).unwrap_or_default();
    let size = status.capacity.and_then(|capacity| Some(capacity.get("storage")?.0.clone()));
    let home = Kept::of(server);
    let kept = match home.claim() {
        Some(claim) => claim.to_owned(),
        None => "ephemeral: empty after each start".to_owned(),
    };
    let missing = (home.claim().is_some() && claim.is_none()).then(|| "not there yet".to_owned());
    let class = spec.storage_class_name.map(|class| format!("class {class}"));
    let path = server.spec.home.as_ref().and_then(|home| home.mount_path.clone());
    let parts = [Some(kept), missing, size, class, status.phase, path.map(|path| format!("at {path}"))];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn run_as_line(run_as: &RunAs) -> String {
    let number = |what: &str, number: Option<i64>| number.map(|number| format!("{what} {number}"));
    let sudo = run_as.sudo.filter(|may| !may).map(|_| "no sudo".to_owned());
    let parts = [number("uid", run_as.uid), number("gid", run_as.gid), sudo];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What comes out of a Secret stays there.
fn variable_line(variable: &EnvVar) -> String {
    match (&variable.value, &variable.value_from) {
        (Some(value), _) => format!("{}={value}", variable.name),
        (None, Some(from)) => {
            format!("{} from key {} of Secret {}", variable.name, from.secret_key_ref.key, from.secret_key_ref.name)
        }
        (None, None) => variable.name.clone(),
    }
}

/// Where the time of its start went.
fn steps(server: &DevServer) -> String {
    let steps = server.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    if steps.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["STEP", "AT", "AFTER"]);
    let mut before = None;
    for step in steps {
        let at = step.time.0;
        let after = before.map(|before: Timestamp| time::span(at.as_second().abs_diff(before.as_second())));
        before = Some(at);
        let at = format!("{} UTC", at.strftime("%H:%M:%S"));
        table.row(vec![format!("{:?}", step.name).into(), at.into(), after.unwrap_or_default().into()]);
    }
    format!("\n{}", table.render(None, false))
}

fn conditions(server: &DevServer, now: Timestamp) -> String {
    let conditions = server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if conditions.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["CONDITION", "STATUS", "REASON", "SINCE"]);
    for condition in conditions {
        table.row(vec![
            condition.type_.as_str().into(),
            condition.status.as_str().into(),
            condition.reason.as_str().into(),
            time::age(Some(&condition.last_transition_time), now).into(),
        ]);
    }
    format!("\n{}", table.render(None, false))
}

/// What was noted about it, its pod and its home, oldest first.
pub(super) async fn events(caller: &Caller, name: &str) -> Result<Vec<Event>, Error> {
    let claim = names::home_claim(name);
    let all = caller.api::<Event>().list(&ListParams::default()).await.map_err(Error::of_api)?;
    let is_about_it = |event: &Event| {
        let about = &event.involved_object;
        match about.kind.as_deref() {
            Some("DevServer" | "Pod") => about.name.as_deref() == Some(name),
            Some("PersistentVolumeClaim") => about.name.as_deref() == Some(&claim),
            _ => false,
        }
    };
    let mut events: Vec<Event> = all.items.into_iter().filter(is_about_it).collect();
    events.sort_by_key(last_time);
    Ok(events)
}

/// As many as one reads.
const EVENTS: usize = 15;

fn events_table(events: &[Event], now: Timestamp, columns: Option<u16>) -> String {
    if events.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["SEEN", "REASON", "ABOUT", "EVENT"]);
    for event in &events[events.len().saturating_sub(EVENTS)..] {
        let ago = last_time(event).map(|at| time::span(now.as_second().saturating_sub(at.as_second()).unsigned_abs()));
        table.row(vec![
            ago.unwrap_or_default().into(),
            event.reason.clone().unwrap_or_default().into(),
            event.involved_object.kind.clone().unwrap_or_default().into(),
            event.message.clone().unwrap_or_default().into(),
        ]);
    }
    format!("\n{}", table.render(columns, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_the_time_of_a_start_went_is_a_table() {
        let server = |steps| {
            serde_json::from_value::<DevServer>(json!({
                "apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": { "name": "dev" },
                "spec": {}, "status": { "steps": steps }
            }))
            .unwrap()
        };
        let step = |name: &str, at: &str| json!({ "name": name, "time": format!("2026-11-29T{at}Z") });
        let started = json!([
            step("Requested", "23:58:30"),
            step("Scheduled", "23:58:30"),
            step("ImagePulled", "23:59:59"),
            step("Ready", "23:59:59"),
        ]);
        let table = steps(&server(started));
        let rows: Vec<Vec<&str>> = table.trim().lines().map(|row| row.split_whitespace().collect()).collect();
        let expected: [&[&str]; 5] = [
            &["STEP", "AT", "AFTER"],
            &["Requested", "23:58:30", "UTC", "-"],
            &["Scheduled", "23:58:30", "UTC", "0s"],
            &["ImagePulled", "23:59:59", "UTC", "89s"],
            &["Ready", "23:59:59", "UTC", "0s"],
        ];
        assert_eq!(rows, expected);
        assert_eq!(steps(&server(json!([]))), "");
    }
}
