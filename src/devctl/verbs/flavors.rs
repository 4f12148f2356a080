//! `devctl flavors`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::api::DevServerFlavor;
use crate::devctl::output::{self, OutputArgs, Table};
use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let flavors = fetch(caller).await?;
        if flavors.is_empty() && self.output.format.is_table() {
            caller.say("There are no flavors; ask your administrator to make a DevServerFlavor.").await;
            return Ok(());
        }
        output::list(caller, self.output.format, &flavors, table(&flavors)).await
    }
}

/// The flavors there are, by name.
pub(super) async fn fetch(caller: &Caller) -> Result<Vec<DevServerFlavor>, Error> {
    let flavors: Api<DevServerFlavor> = Api::all(caller.client.clone());
    let mut flavors = flavors.list(&ListParams::default()).await.map_err(Error::of_api)?.items;
    flavors.sort_by_key(ResourceExt::name_any);
    Ok(flavors)
}

pub(super) fn table(flavors: &[DevServerFlavor]) -> Table {
    let mut table = Table::new(&["NAME", "DEFAULT", "CPU", "MEMORY", "DEVICES"]);
    for flavor in flavors {
        let resource = |name: &str| amount(flavor, name).unwrap_or_default();
        let default = if flavor.spec.default { "yes" } else { "" };
        table.row(vec![
            flavor.name_any().into(),
            default.into(),
            resource("cpu").into(),
            resource("memory").into(),
            devices(flavor).into(),
        ]);
    }
    table
}

/// What it may use; what it is sure to have where there is no limit.
fn amount(flavor: &DevServerFlavor, resource: &str) -> Option<String> {
    let resources = &flavor.spec.resources;
    let of = |amounts: &Option<std::collections::BTreeMap<String, Quantity>>| {
        Some(amounts.as_ref()?.get(resource)?.0.clone())
    };
    of(&resources.limits).or_else(|| of(&resources.requests))
}

/// GPUs and the like: resources whose names have a domain, as `2 nvidia.com/gpu`.
fn devices(flavor: &DevServerFlavor) -> String {
    let limits = flavor.spec.resources.limits.iter().flatten();
    let devices = limits.filter(|(name, _)| name.contains('/')).map(|(name, amount)| format!("{} {name}", amount.0));
    devices.collect::<Vec<_>>().join(", ")
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
        }))
        .unwrap();
        let text = table(&[flavor]).render(None, false);
        assert_eq!(
            text.lines().nth(1).unwrap().split("   ").map(str::trim).filter(|c| !c.is_empty()).collect::<Vec<_>>(),
            ["gpu-2", "yes", "8", "8Gi", "2 nvidia.com/gpu"]
        );
    }
}
