//! `devctl top`.

use std::collections::{BTreeMap, HashMap};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::ListParams;

use super::list::{awake, phase};
use crate::api::{DevServer, Phase, names};
use crate::devctl::output::{Cell, Table};
use crate::devctl::{Caller, Error, TakenNow};

#[derive(clap::Args)]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let pods = async { caller.api::<Pod>().list(&ListParams::default()).await.map_err(Error::of_api) };
        let (servers, quotas, pods) = tokio::try_join!(caller.devservers(), quotas(caller), pods)?;
        if servers.is_empty() {
            caller.say(super::list::NONE).await;
        }
        let limits: HashMap<String, Limits> = pods.items.iter().map(|pod| (pod.name_any(), Limits::of(pod))).collect();
        let taken = join_all(servers.iter().map(|server| taken(caller, server))).await;
        let mut table = Table::new(&["NAME", "STATUS", "CPU", "MEMORY", "GPU", "IN USE BY", "PROGRAMS", "FORWARDS"]);
        for (server, taken) in servers.iter().zip(taken) {
            let phase = phase(server);
            let activity = server.status.clone().and_then(|status| status.activity).unwrap_or_default();
            let none = Limits::default();
            let limits = limits.get(&server.name_any()).unwrap_or(&none);
            table.row(vec![
                server.name_any().into(),
                Cell::phase(&format!("{phase:?}"), phase),
                of(taken.map(|taken| format!("{}.{:02}", taken.cpu / 100, taken.cpu % 100)), limits.cpu.as_deref())
                    .into(),
                of(taken.and_then(|taken| taken.memory).map(bytes), limits.memory.as_deref()).into(),
                taken.and_then(|taken| taken.gpu).map(|percent| format!("{percent}%")).unwrap_or_default().into(),
                awake(server, caller.now()).into(),
                activity.programs.to_string().into(),
                activity.forwards.to_string().into(),
            ]);
        }
        let mut quota = Table::new(&["QUOTA", "USED", "OF"]);
        for (resource, limit, used) in quotas {
            quota.row(vec![resource.into(), used.into(), limit.into()]);
        }
        let (columns, colour) = (caller.columns(), caller.streams.colour);
        let tables = [table, quota].into_iter().filter(|table| !table.is_empty());
        let text: Vec<String> = tables.map(|table| table.render(columns, colour)).collect();
        caller.print(&text.join("\n")).await;
        Ok(())
    }
}

async fn taken(caller: &Caller, server: &DevServer) -> Option<TakenNow> {
    match &caller.taken {
        Some(taken) if phase(server) == Phase::Running => taken(server.name_any()).await,
        _ => None,
    }
}

/// The most that a pod's programs may take.
#[derive(Default)]
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
async fn quotas(caller: &Caller) -> Result<Vec<(String, String, String)>, Error> {
    let quotas = caller.api::<ResourceQuota>().list(&ListParams::default()).await.map_err(Error::of_api)?;
    let amounts = |amounts: Option<BTreeMap<String, Quantity>>| amounts.unwrap_or_default();
    let lines = quotas.items.into_iter().flat_map(|quota| {
        let status = quota.status.unwrap_or_default();
        let used = amounts(status.used);
        let hard = amounts(status.hard.or_else(|| quota.spec?.hard));
        hard.into_iter().map(move |(resource, limit)| {
            let used = used.get(&resource).map(|used| used.0.clone()).unwrap_or_default();
            (resource, limit.0, used)
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
