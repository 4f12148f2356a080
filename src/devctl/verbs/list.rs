//! `devctl list`.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::ListParams;

use super::home::Kept;
use super::shared;
use crate::api::{DevServer, GpuUse, Phase, SuspensionReason, names};
use crate::devctl::changes::{Changes, Rows};
use crate::devctl::output::{self, Cell, Format, OutputArgs, Table};
use crate::devctl::{Caller, Error, time};
use crate::watch::Guard;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
    /// Go on telling what changes, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// List those of others that are shared with you, rather than your own
    #[arg(long, conflicts_with = "watch")]
    shared: bool,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let format = self.output.format;
        if self.shared {
            return shared::list(caller, format).await;
        }
        if self.watch {
            return follow(caller, format).await;
        }
        let servers = caller.devservers().await?;
        if servers.is_empty() && format.is_table() {
            caller.say_none().await;
        } else {
            let pods = Pods::fetch(caller, format).await?;
            let table = table(&servers, &pods, format, caller.now());
            output::list(caller, format, &servers, table).await?;
        }
        if format.is_table() {
            shared::mention(caller).await;
        }
        Ok(())
    }
}

/// What only wide tables tell.
#[derive(Default)]
struct Pods {
    pods: HashMap<String, Pod>,
    claims: HashMap<String, PersistentVolumeClaim>,
}

impl Pods {
    async fn fetch(caller: &Caller, format: Format) -> Result<Self, Error> {
        if format != Format::Wide {
            return Ok(Self::default());
        }
        let all = ListParams::default();
        let (pods, claims) = (caller.api::<Pod>(), caller.api::<PersistentVolumeClaim>());
        let (pods, claims) = tokio::try_join!(pods.list(&all), claims.list(&all)).map_err(Error::of_api)?;
        let pods = pods.items.into_iter().map(|pod| (pod.name_any(), pod)).collect();
        let claims = claims.items.into_iter().map(|claim| (claim.name_any(), claim)).collect();
        Ok(Self { pods, claims })
    }

    fn node(&self, name: &str) -> Option<&str> {
        self.pods.get(name)?.spec.as_ref()?.node_name.as_deref()
    }

    fn cpu(&self, name: &str) -> Option<&str> {
        let containers = &self.pods.get(name)?.spec.as_ref()?.containers;
        let container = containers.iter().find(|container| container.name == names::CONTAINER)?;
        Some(container.resources.as_ref()?.limits.as_ref()?.get("cpu")?.0.as_str())
    }

    fn home(&self, server: &DevServer) -> Option<&str> {
        match Kept::of(server).claim() {
            Some(claim) => Some(self.claims.get(claim)?.status.as_ref()?.capacity.as_ref()?.get("storage")?.0.as_str()),
            None => Some("ephemeral"),
        }
    }
}

fn table(servers: &[DevServer], pods: &Pods, format: Format, now: Timestamp) -> Table {
    let wide = format == Format::Wide;
    let mut header = vec!["NAME", "FLAVOR", "IMAGE", "STATUS", "AGE", "EXPIRES"];
    if wide {
        header.extend(["IN USE", "LEFT", "NODE", "CPU", "POD", "HOME"]);
    }
    let mut table = Table::new(&header);
    for server in servers {
        let name = server.name_any();
        let status = server.status.clone().unwrap_or_default();
        let phase = phase(server);
        let mut row: Vec<Cell> = vec![
            name.as_str().into(),
            server.spec.flavor.clone().unwrap_or_else(|| "(default)".to_owned()).into(),
            server.spec.image.clone().unwrap_or_else(|| "(default)".to_owned()).into(),
            Cell::phase(&format!("{phase:?}"), phase),
            time::age(server.metadata.creation_timestamp.as_ref(), now).into(),
            expires(server, now).into(),
        ];
        if wide {
            let text = |text: Option<&str>| Cell::from(text.unwrap_or_default());
            row.extend([
                awake(server, now).into(),
                left(server, now).into(),
                text(pods.node(&name)),
                text(pods.cpu(&name)),
                text(status.pod_name.as_deref()),
                text(pods.home(server)),
            ]);
        }
        table.row(row);
    }
    table
}

/// Where it is in its life; one that is being deleted may not have heard of it yet.
pub(super) fn phase(server: &DevServer) -> Phase {
    match server.metadata.deletion_timestamp {
        Some(_) => Phase::Terminating,
        None => server.status.as_ref().map(|status| status.phase).unwrap_or_default(),
    }
}

fn expires(server: &DevServer, now: Timestamp) -> String {
    let status = server.status.as_ref();
    let expiration = status.and_then(|status| status.expiration_time.as_ref());
    match expiration {
        Some(expiration) if phase(server) != Phase::Suspended => time::relative(expiration, now),
        _ => String::new(),
    }
}

/// What it is used by.
pub(super) fn awake(server: &DevServer, now: Timestamp) -> String {
    let activity = server.status.as_ref().and_then(|status| status.activity.as_ref());
    let Some(activity) = activity.filter(|_| phase(server) == Phase::Running) else { return String::new() };
    let observed = activity.observed_time.as_ref();
    match &activity.awake {
        _ if observed.is_none_or(|observed| now.duration_since(observed.0) > STALE) => "unknown".to_owned(),
        None if activity.gpu == Some(GpuUse::Unknown) => "unknown GPU".to_owned(),
        None => "nothing".to_owned(),
        Some(signs) => signs.clone(),
    }
}

/// How long until it sleeps if nothing changes, and why it then does.
fn left(server: &DevServer, now: Timestamp) -> String {
    let status = server.status.clone().unwrap_or_default();
    if phase(server) == Phase::Suspended {
        return String::new();
    }
    let idle = status.suspension.filter(|suspension| suspension.reason == SuspensionReason::Idle);
    let ends = [idle.map(|idle| (idle.time.0, " if idle")), status.expiration_time.map(|end| (end.0, ""))];
    let Some((end, why)) = ends.into_iter().flatten().min() else { return String::new() };
    let seconds = u64::try_from(end.as_second() - now.as_second()).unwrap_or_default();
    format!("{}{why}", time::span(seconds))
}

/// What was measured longer ago says nothing of now.
const STALE: SignedDuration = SignedDuration::from_mins(15);

/// Prints the list, and then each DevServer as it changes.
async fn follow(caller: &Caller, format: Format) -> Result<(), Error> {
    let mut changes = Changes::of(caller.api::<Guard<DevServer>>());
    let mut rows = Rows::new(format, &[12, 10, 16, 11, 6, 9]);
    loop {
        let changed = changes.next(caller).await?;
        let pods = Pods::fetch(caller, format).await?;
        let table = table(&changed, &pods, format, caller.now());
        rows.print(caller, &changed, ResourceExt::name_any, table).await?;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_what_matters() {
        let server: DevServer = serde_json::from_value(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServer",
            "metadata": {"name": "train", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"flavor": "gpu-1"},
            "status": {"phase": "Running", "expirationTime": "2026-01-01T04:00:00Z"},
        }))
        .unwrap();
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let text = table(&[server], &Pods::default(), Format::Table, now).render(None, false);
        let rows: Vec<Vec<&str>> =
            text.lines().map(|line| line.split("   ").map(str::trim).filter(|c| !c.is_empty()).collect()).collect();
        assert_eq!(rows[1], ["train", "gpu-1", "(default)", "Running", "60m", "in 3h"]);
    }

    #[test]
    fn what_keeps_it_awake_and_how_long_it_has_is_told() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let server = |observed: &str, signs: Option<&str>, idle: Option<&str>| {
            let suspension = idle.map(|time| json!({"time": time, "reason": "Idle", "message": "x"}));
            let server: DevServer = serde_json::from_value(json!({
                "apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": {"name": "train"}, "spec": {},
                "status": {
                    "phase": "Running", "expirationTime": "2026-01-01T04:00:00Z", "suspension": suspension,
                    "activity": {"observedTime": observed, "awake": signs, "gpu": "None"},
                },
            }))
            .unwrap();
            (awake(&server, now), left(&server, now))
        };
        let pair = |awake: &str, left: &str| (awake.to_owned(), left.to_owned());
        let recent = "2026-01-01T00:59:00Z";
        assert_eq!(server(recent, Some("GPU, CPU"), None), pair("GPU, CPU", "3h"));
        assert_eq!(server(recent, None, Some("2026-01-01T01:40:00Z")), pair("nothing", "40m if idle"));
        assert_eq!(server(recent, None, Some("2026-01-01T05:00:00Z")), pair("nothing", "3h"));
        assert_eq!(server("2026-01-01T00:30:00Z", Some("CPU"), None), pair("unknown", "3h"));
    }
}
