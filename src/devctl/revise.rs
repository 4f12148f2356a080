//! Changing an object that was looked at before.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Error;

/// Each is lost to somebody who wrote a status in the same moment.
const ATTEMPTS: usize = 10;

/// Changes the spec of `seen` by a merge patch, which replaces lists as a whole; refused if it is not the spec of
/// `seen` any more. Of a status that the operator wrote meanwhile nobody is told.
pub(super) async fn revise<K>(api: &Api<K>, mut seen: K, spec: Value) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let parameters = PatchParams { field_manager: Some(super::NAME.to_owned()), ..PatchParams::default() };
    let name = seen.name_any();
    for _ in 0..ATTEMPTS {
        let patch = json!({"metadata": {"resourceVersion": seen.resource_version()}, "spec": spec});
        match api.patch(&name, &parameters, &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => return other.map_err(Error::of_api),
        }
        let now = api.get(&name).await.map_err(Error::of_api)?;
        if spec_of(&now) != spec_of(&seen) {
            break;
        }
        seen = now;
    }
    Err(Error::conflict())
}

/// Which object, and which of the specs that it had: a status changes neither.
fn spec_of(object: &impl Resource) -> (Option<String>, Option<i64>) {
    let metadata = object.meta();
    (metadata.uid.clone(), metadata.generation)
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use kube::api::PostParams;

    use super::*;
    use crate::api::{self, DevServer, DevServerSpec};
    use crate::minik8s::Cluster;

    #[tokio::test]
    async fn only_a_spec_that_somebody_else_changed_is_in_the_way() {
        let (_cluster, client, _data) = Cluster::start_for_a_test(api::crds()).await;
        let servers: Api<DevServer> = Api::namespaced(client, "default");
        let seen =
            servers.create(&PostParams::default(), &DevServer::new("x", DevServerSpec::default())).await.unwrap();
        let parameters = PatchParams::default();
        let status = json!({"status": {"message": "it starts", "phase": "Starting"}});
        servers.patch_status("x", &parameters, &Patch::Merge(status)).await.unwrap();

        let revised = revise(&servers, seen.clone(), json!({"image": "a"})).await.unwrap();
        assert_eq!(revised.spec.image.as_deref(), Some("a"));
        assert_eq!(revised.status.unwrap().message.as_deref(), Some("it starts"));

        let refused = revise(&servers, seen, json!({"image": "b"})).await.unwrap_err();
        assert!(refused.text.contains("run the command again"), "{refused}");
        assert_eq!(servers.get("x").await.unwrap().spec.image.as_deref(), Some("a"));
    }
}
