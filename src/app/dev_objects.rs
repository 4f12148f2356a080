//! What users find on any cluster: their roles, so that they may here what they may there, and the flavors of k8s/base.

use anyhow::{Context, Result};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};

const USERS: &str = include_str!("../../k8s/base/users.yaml");
const FLAVORS: &str = include_str!("../../k8s/base/flavors.yaml");

pub(super) async fn add(client: &kube::Client) -> Result<()> {
    for document in [USERS, FLAVORS].into_iter().flat_map(|file| file.split("\n---\n")) {
        let object: DynamicObject = serde_saphyr::from_str(document)?;
        let types = object.types.as_ref().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let name = object.metadata.name.clone().context("an object without a name")?;
        let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        objects.patch(&name, &PatchParams::apply("bastion-dev").force(), &Patch::Apply(&object)).await?;
    }
    Ok(())
}
