//! Puts a DevServer to sleep: says so in its spec, which its owner may take back, and takes its pod away.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use tracing::info;

use super::Context;
use super::apply::delete_pod;
use super::done::Error;
use super::step::Step;
use crate::api::{DevServer, names};

/// Sets `spec.lifecycle.suspended`. None if it has changed since it was looked at: then it must be looked at again, for
/// that may have been a sign of use, or its owner's word.
pub(super) async fn mark(context: &Context, server: &DevServer) -> Result<Option<DevServer>, Error> {
    let servers: Api<DevServer> = Api::namespaced(context.client.clone(), &server.namespace().unwrap_or_default());
    let patch = serde_json::json!({
        "metadata": { "resourceVersion": server.resource_version(), "uid": server.uid() },
        "spec": { "lifecycle": { "suspended": true } },
    });
    let params =
        PatchParams { field_manager: Some(names::LIFECYCLE_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match servers.patch(&server.name_any(), &params, &Patch::Merge(patch)).await {
        Ok(marked) => {
            let why = server.status.as_ref().and_then(|status| status.suspension.as_ref());
            let (reason, message) = why.map(|why| (why.reason, why.message.as_str())).unzip();
            info!(namespace = server.namespace(), devserver = server.name_any(), ?reason, message, "suspended");
            Ok(Some(marked))
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(Error::Suspend(Box::new(error))),
    }
}

/// Takes its pod away, and nothing else.
pub(super) async fn put_away(
    context: &Context,
    key: &ObjectRef<DevServer>,
    pod: Option<&Pod>,
    why: Step,
) -> Result<(), Error> {
    if let Some(pod) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        delete_pod(context, pod, why).await?;
    }
    // It did not die; the next pod is no further try.
    context.memories.replaced(key);
    Ok(())
}
