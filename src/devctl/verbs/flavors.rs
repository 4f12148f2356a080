//! `devctl flavors`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{Api, ResourceExt};

use crate::api::{DevServerFlavor, Schedulable, names};
use crate::devctl::changes::{Changes, Rows};
use crate::devctl::output::{self, Cell, Colour, Format, OutputArgs, Table};
use crate::devctl::{Caller, Error};
use crate::watch::Guard;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
    /// Go on telling what changes, such as what is free, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        if self.watch {
            return follow(caller, self.output.format).await;
        }
        let flavors = fetch(caller).await?;
        if flavors.is_empty() && self.output.format.is_table() {
            caller.say("There are no flavors; ask your administrator to make a DevServerFlavor.").await;
            return Ok(());
        }
        let wide = self.output.format == Format::Wide;
        output::list(caller, self.output.format, &flavors, table(&flavors, wide)).await
    }
}

/// The flavors that she may use, by name.
pub(super) async fn fetch(caller: &Caller) -> Result<Vec<DevServerFlavor>, Error> {
    let all = Api::all(caller.client.clone());
    let mut flavors = caller.readable::<DevServerFlavor>(all).await?;
    flavors.retain(|flavor| is_for(caller, flavor));
    flavors.sort_by_key(ResourceExt::name_any);
    Ok(flavors)
}

fn is_for(caller: &Caller, flavor: &DevServerFlavor) -> bool {
    let allowed = &flavor.spec.allowed_users;
    let user = names::user_of(&caller.namespace);
    allowed.is_empty() || user.is_none_or(|user| allowed.iter().any(|one| one == user))
}

/// Prints the list, and then each flavor as it changes.
async fn follow(caller: &Caller, format: Format) -> Result<(), Error> {
    let mut changes = Changes::of(Api::<Guard<DevServerFlavor>>::all(caller.client.clone()));
    let mut rows = Rows::new(format, &[12, 7, 6, 8, 16, 9, 6]);
    loop {
        let mut changed = changes.next(caller).await?;
        changed.retain(|flavor| is_for(caller, flavor));
        let table = table(&changed, format == Format::Wide);
        rows.print(caller, &changed, ResourceExt::name_any, table).await?;
    }
}

pub(super) fn table(flavors: &[DevServerFlavor], wide: bool) -> Table {
    let mut header = vec!["NAME", "DEFAULT", "CPU", "MEMORY", "DEVICES", "MAX TIME", "FREE"];
    header.extend(wide.then_some("WHY"));
    let mut table = Table::new(&header);
    for flavor in flavors {
        let resource = |name: &str| amount(flavor, name).unwrap_or_default();
        let default = if flavor.spec.default { "yes" } else { "" };
        let mut row = vec![
            flavor.name_any().into(),
            default.into(),
            resource("cpu").into(),
            resource("memory").into(),
            flavor.devices().unwrap_or_default().into(),
            flavor.spec.time_limit.as_ref().map(|limit| limit.0.clone()).unwrap_or_default().into(),
            free(flavor),
        ];
        if wide {
            row.push(flavor.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default().into());
        }
        table.row(row);
    }
    table
}

/// How many more there is room for.
fn free(flavor: &DevServerFlavor) -> Cell {
    let status = flavor.status.clone().unwrap_or_default();
    let count = status.free.map(|free| free.to_string());
    match status.schedulable {
        _ if flavor.metadata.deletion_timestamp.is_some() => Cell::coloured("deleted", Colour::Red),
        Schedulable::Yes => Cell::coloured(count.as_deref().unwrap_or("yes"), Colour::Green),
        Schedulable::No => Cell::coloured("none", Colour::Red),
        Schedulable::Autoscaled => Cell::coloured("soon", Colour::Yellow),
        Schedulable::Unknown => Cell::from(""),
    }
}

/// What it may use; what it is sure to have where there is no limit.
fn amount(flavor: &DevServerFlavor, resource: &str) -> Option<String> {
    let resources = &flavor.spec.resources;
    let of = |amounts: &Option<std::collections::BTreeMap<String, Quantity>>| {
        Some(amounts.as_ref()?.get(resource)?.0.clone())
    };
    of(&resources.limits).or_else(|| of(&resources.requests))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flavor_tells_its_size_and_its_gpus() {
        let flavor: DevServerFlavor = serde_json::from_value(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServerFlavor", "metadata": {"name": "gpu-2"},
            "spec": {"default": true, "resources": {"requests": {"memory": "8Gi"}, "limits": {"cpu": "8", "nvidia.com/gpu": "2"}}},
            "status": {"schedulable": "Yes", "free": 3},
        }))
        .unwrap();
        let text = table(&[flavor], false).render(None, false);
        assert_eq!(
            text.lines().nth(1).unwrap().split("   ").map(str::trim).filter(|c| !c.is_empty()).collect::<Vec<_>>(),
            ["gpu-2", "yes", "8", "8Gi", "2 nvidia.com/gpu", "-", "3"]
        );
    }
}
