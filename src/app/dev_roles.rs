//! The roles that users have on any cluster, so that they may here what they may there.

use anyhow::{Context, Result};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};

const USERS: &str = include_str!("../../k8s/base/users.yaml");

pub(super) async fn add(client: &kube::Client) -> Result<()> {
    for document in USERS.split("\n---\n") {
        let object: DynamicObject = serde_saphyr::from_str(document)?;
        let types = object.types.as_ref().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let name = object.metadata.name.clone().context("an object without a name")?;
        let roles: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        roles.patch(&name, &PatchParams::apply("bastion-dev").force(), &Patch::Apply(&object)).await?;
    }
    Ok(())
}
