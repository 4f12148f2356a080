//! `devctl top`.

use std::collections::{BTreeMap, HashMap};
use std::slice;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::list::{awake, phase};
use crate::api::{DevServer, Phase, names};
use crate::devctl::changes::{Changes, Rows};
use crate::devctl::output::{self, Cell, Format, OutputArgs, Table};
use crate::devctl::{Caller, Error, Exit};
use crate::watch::Guard;
use crate::workspace::Taken;

/// A pod that says nothing for so long is not waited for.
const POD: Duration = Duration::from_secs(5);
/// How often pods are asked anew. They measure CPU by the minute, and memory as it is.
const EVERY: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
    /// Go on telling what changes, until Ctrl-C; of the quota nothing is told then
    #[arg(long, short)]
    watch: bool,
}

/// What one of her DevServers takes. For programs: CPU in cores, memory in bytes, GPU in percent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    phase: Phase,
    cpu: Option<f64>,
    memory: Option<u64>,
    gpu: Option<u32>,
    limits: Limits,
    in_use_by: String,
    programs: u32,
    forwards: u32,
}

#[derive(Serialize)]
struct Quota {
    resource: String,
    used: String,
    limit: String,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let format = self.output.format;
        if self.watch {
            return tokio::select! {
                biased;
                // Also while a pod is asked.
                () = caller.streams.interrupted.cancelled() => Err(Error::stopped()),
                ended = follow(caller, format) => ended,
            };
        }
        let (servers, quotas) = tokio::try_join!(caller.devservers(), quotas(caller))?;
        if servers.is_empty() && format.is_table() {
            caller.say_none().await;
        }
        let rows = rows(caller, &servers).await?;
        let text = match format {
            Format::Table | Format::Wide => {
                let (columns, colour) = (caller.columns(), caller.streams.colour);
                let tables = [table(&rows), quota_table(quotas)].into_iter().filter(|table| !table.is_empty());
                let text: Vec<String> = tables.map(|table| table.render(columns, colour)).collect();
                text.join("\n")
            }
            Format::Name => rows.iter().map(|row| format!("{}\n", row.name)).collect(),
            Format::Json => output::pretty(&json!({"devServers": rows, "quota": quotas}))?,
            Format::Yaml => output::yaml(&json!({"devServers": rows, "quota": quotas}))?,
        };
        caller.print(&text).await;
        Ok(())
    }
}

/// Prints what each takes, and again when it takes another amount, or is otherwise.
async fn follow(caller: &Caller, format: Format) -> Result<(), Error> {
    let mut changes = Changes::of(caller.api::<Guard<DevServer>>());
    let mut printed = Rows::new(format, &[12, 11, 9, 16, 6, 10]);
    let (mut servers, mut told) = (BTreeMap::new(), HashMap::new());
    let mut looks = interval_at(Instant::now() + EVERY, EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked: Vec<DevServer> = tokio::select! {
            changed = changes.next(caller) => changed?,
            _ = looks.tick() => servers.values().cloned().collect(),
        };
        servers.extend(asked.iter().map(|server| (server.name_any(), server.clone())));
        let mut rows = match rows(caller, &asked).await {
            Ok(rows) => rows,
            Err(error) if told.is_empty() || error.exit == Exit::Refused => return Err(error),
            // They are asked again, and of a cluster that does not answer `changes` tells.
            Err(_) => continue,
        };
        let looks_new = |row: &Row| {
            let now = table(slice::from_ref(row)).render(None, false);
            told.insert(row.name.clone(), now.clone()) != Some(now)
        };
        rows.retain(looks_new);
        printed.print(caller, &rows, |row| row.name.clone(), table(&rows)).await?;
    }
}

/// What `servers` take.
async fn rows(caller: &Caller, servers: &[DevServer]) -> Result<Vec<Row>, Error> {
    let api = caller.api::<Pod>();
    let all = ListParams::default();
    let taken = join_all(servers.iter().map(|server| taken(caller, server)));
    let (pods, taken) = tokio::join!(api.list(&all), taken);
    let pods = pods.map_err(Error::of_api)?;
    let mut limits: HashMap<String, Limits> = pods.items.iter().map(|pod| (pod.name_any(), Limits::of(pod))).collect();
    let rows = servers.iter().zip(taken).map(|(server, taken)| {
        let limits = limits.remove(&server.name_any()).unwrap_or_default();
        Row::of(server, taken, limits, caller.now())
    });
    Ok(rows.collect())
}

impl Row {
    fn of(server: &DevServer, taken: Option<Taken>, limits: Limits, now: Timestamp) -> Self {
        let activity = server.status.clone().and_then(|status| status.activity).unwrap_or_default();
        Self {
            name: server.name_any(),
            phase: phase(server),
            cpu: taken.map(|taken| taken.cpu as f64 / 100.0),
            memory: taken.and_then(|taken| taken.memory),
            gpu: taken.and_then(|taken| taken.gpu),
            limits,
            in_use_by: awake(server, now),
            programs: activity.programs,
            forwards: activity.forwards,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["NAME", "STATUS", "CPU", "MEMORY", "GPU", "IN USE", "PROGRAMS", "FORWARDS"]);
    for row in rows {
        table.row(vec![
            row.name.as_str().into(),
            Cell::phase(&format!("{:?}", row.phase), row.phase),
            of(row.cpu.map(|cores| format!("{cores:.2}")), row.limits.cpu.as_deref()).into(),
            of(row.memory.map(bytes), row.limits.memory.as_deref()).into(),
            row.gpu.map(|percent| format!("{percent}%")).unwrap_or_default().into(),
            row.in_use_by.as_str().into(),
            row.programs.to_string().into(),
            row.forwards.to_string().into(),
        ]);
    }
    table
}

fn quota_table(quotas: Vec<Quota>) -> Table {
    let mut table = Table::new(&["QUOTA", "USED", "OF"]);
    for Quota { resource, used, limit } in quotas {
        table.row(vec![resource.into(), used.into(), limit.into()]);
    }
    table
}

/// None where its pod does not tell.
async fn taken(caller: &Caller, server: &DevServer) -> Option<Taken> {
    if phase(server) != Phase::Running {
        return None;
    }
    timeout(POD, caller.beyond.usage(&server.name_any())).await.ok()?.ok()?.taken()
}

/// The most that a pod's programs may take.
#[derive(Default, Serialize)]
struct Limits {
    cpu: Option<String>,
    memory: Option<String>,
}

impl Limits {
    fn of(pod: &Pod) -> Self {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut container = containers.filter(|container| container.name == names::CONTAINER);
        let limits = container.next().and_then(|container| container.resources.as_ref()?.limits.as_ref());
        let limit = |resource: &str| Some(limits?.get(resource)?.0.clone());
        Self { cpu: limit("cpu"), memory: limit("memory") }
    }
}

fn of(taken: Option<String>, limit: Option<&str>) -> String {
    match (taken, limit) {
        (Some(taken), Some(limit)) => format!("{taken} of {limit}"),
        (Some(taken), None) => taken,
        (None, _) => String::new(),
    }
}

/// In the unit that a person would choose.
fn bytes(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes @ 0..10_240 => format!("{mebibytes}Mi"),
        mebibytes => format!("{}Gi", mebibytes >> 10),
    }
}

/// Each resource with its limit, and what of it is used.
async fn quotas(caller: &Caller) -> Result<Vec<Quota>, Error> {
    let quotas = caller.api::<ResourceQuota>().list(&ListParams::default()).await.map_err(Error::of_api)?;
    let amounts = |amounts: Option<BTreeMap<String, Quantity>>| amounts.unwrap_or_default();
    let lines = quotas.items.into_iter().flat_map(|quota| {
        let status = quota.status.unwrap_or_default();
        let used = amounts(status.used);
        let hard = amounts(status.hard.or_else(|| quota.spec?.hard));
        hard.into_iter().map(move |(resource, limit)| {
            let used = used.get(&resource).map(|used| used.0.clone()).unwrap_or_default();
            Quota { resource, used, limit: limit.0 }
        })
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_stands_before_what_there_is() {
        assert_eq!(of(Some("0.35".to_owned()), Some("2")), "0.35 of 2");
        assert_eq!(of(Some(bytes(700 << 20)), None), "700Mi");
        assert_eq!(of(None, Some("2")), "");
        assert_eq!([bytes(0), bytes(10 << 30), bytes(80 << 30)], ["0Mi", "10Gi", "80Gi"]);
    }
}
