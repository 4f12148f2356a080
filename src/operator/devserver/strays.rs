//! What is left of DevServers that are gone. The garbage collector takes it, but not from whoever deletes with
//! `--cascade=orphan`: a pod that nobody sees and nobody ends, and rights of guests on whatever gets its name.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use tokio::time::sleep;
use tracing::warn;

use super::apply::delete_pod;
use super::done::Error;
use super::fetch::Stores;
use super::step::Step;
use super::{Context, guests};
use crate::api::{DevServer, names};
use crate::telemetry::chain;

/// The DevServers that an object of ours is, or was, of: by its owners, and by its label, which outlives them.
pub(super) fn of<K: Resource>(object: &K) -> HashSet<ObjectRef<DevServer>> {
    let kind = DevServer::kind(&());
    let owners = object.owner_references().iter().filter(|owner| owner.kind == kind).map(|owner| owner.name.as_str());
    let noted = object.labels().get(names::DEVSERVER_LABEL).map(String::as_str);
    let namespace = object.namespace().unwrap_or_default();
    owners.chain(noted).map(|name| ObjectRef::new(name).within(&namespace)).collect()
}

impl Stores {
    /// DevServers that are not there, and something of theirs is.
    pub(super) fn gone_but_not_all(&self) -> HashSet<ObjectRef<DevServer>> {
        let pods = self.pods.state().into_iter().flat_map(|pod| of(&*pod));
        let guests = self.guests.state().into_iter().flat_map(|binding| of(&*binding));
        let roles = self.guest_roles.state().into_iter().flat_map(|role| of(&*role));
        pods.chain(guests).chain(roles).filter(|key| self.is_gone(key)).collect()
    }

    fn is_gone(&self, key: &ObjectRef<DevServer>) -> bool {
        let namespace = key.namespace.as_deref().unwrap_or_default();
        self.devservers.get(key).is_none() && self.unreadable.why::<DevServer>(namespace, &key.name).is_none()
    }

    fn left_pod(&self, key: &ObjectRef<DevServer>) -> Option<Arc<Pod>> {
        let pod = self.pods.get(&ObjectRef::new(&key.name).within(key.namespace.as_deref()?))?;
        (of(&*pod).contains(key) && pod.metadata.deletion_timestamp.is_none()).then_some(pod)
    }

    fn left_guests(&self, key: &ObjectRef<DevServer>) -> bool {
        let Some(namespace) = key.namespace.as_deref() else { return false };
        let name = names::guests(&key.name);
        let role = self.guest_roles.get(&ObjectRef::new(&name).within(namespace));
        let binding = self.guests.get(&ObjectRef::new(&name).within(namespace));
        role.is_some_and(|role| of(&*role).contains(key)) || binding.is_some_and(|binding| of(&*binding).contains(key))
    }
}

/// Deletes what is left of one, however often that has to be tried. Who asks meanwhile has it looked at once more.
pub(super) async fn clear(context: &Context, key: &ObjectRef<DevServer>) {
    let mut is_first = false;
    context.clearing.entry(key.clone()).and_modify(|again| *again = true).or_insert_with(|| {
        is_first = true;
        false
    });
    if !is_first {
        return;
    }
    loop {
        match try_to_clear(context, key).await {
            Ok(()) => {
                context.backoff.forget(key);
                if context.clearing.remove_if(key, |_, again| !*again).is_some() {
                    return;
                }
                context.clearing.insert(key.clone(), false);
            }
            Err(error) => {
                let pause = context.backoff.after_failure(key.clone());
                let error = chain(&error);
                warn!(devserver = %key, error, retry_in = ?pause, "failed to delete what is left of a DevServer");
                sleep(pause).await;
            }
        }
    }
}

async fn try_to_clear(context: &Context, key: &ObjectRef<DevServer>) -> Result<(), Error> {
    let stores = &context.stores;
    stores.ready.once().await;
    let namespace = key.namespace.as_deref().unwrap_or_default();
    if names::user_of(namespace).is_none() || !stores.is_gone(key) {
        return Ok(());
    }
    let (pod, guests) = (stores.left_pod(key), stores.left_guests(key));
    if pod.is_none() && !guests {
        return Ok(());
    }
    // What is watched may be behind, and be it for the moment of another API server.
    let servers: Api<PartialObjectMeta<DevServer>> = Api::namespaced(context.client.clone(), namespace);
    let by_name = ListParams::default().fields(&format!("metadata.name={}", key.name));
    let there = servers.list(&by_name).await.map_err(|error| Error::LookUp(Box::new(error)))?;
    if !there.items.is_empty() {
        return Ok(());
    }
    if let Some(pod) = pod {
        delete_pod(context, &pod, Step::End).await?;
    }
    if guests {
        let gone = guests::withdraw(&context.client, namespace, &key.name).await;
        gone.map_err(|error| Error::Guests(Box::new(error)))?;
    }
    Ok(())
}
