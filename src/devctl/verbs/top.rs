//! `devctl top`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::ListParams;

use super::list::phase;
use crate::devctl::output::{Cell, Table};
use crate::devctl::{Caller, Error, time};

#[derive(clap::Args)]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let (servers, quotas) = tokio::try_join!(caller.devservers(), quotas(caller))?;
        let now = caller.now();
        let mut table = Table::new(&["NAME", "STATUS", "PROGRAMS", "FORWARDS", "TYPED", "OUTPUT"]);
        for server in &servers {
            let phase = phase(server);
            let activity = server.status.clone().and_then(|status| status.activity).unwrap_or_default();
            let ago = |then: &Option<Time>| -> Cell {
                then.as_ref().map(|then| time::relative(then, now)).unwrap_or_default().into()
            };
            table.row(vec![
                server.name_any().into(),
                Cell::phase(&format!("{phase:?}"), phase),
                activity.programs.to_string().into(),
                activity.forwards.to_string().into(),
                ago(&activity.last_input_time),
                ago(&activity.last_output_time),
            ]);
        }
        let mut quota = Table::new(&["QUOTA", "USED", "OF"]);
        for (resource, limit, used) in quotas {
            quota.row(vec![resource.into(), used.into(), limit.into()]);
        }
        let (columns, colour) = (caller.columns(), caller.streams.colour);
        let mut text = table.render(columns, colour);
        if !quota.is_empty() {
            text = format!("{text}\n{}", quota.render(columns, colour));
        }
        caller.print(&text).await;
        Ok(())
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
