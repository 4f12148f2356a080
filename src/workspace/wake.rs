//! Wakes a DevServer that sleeps, in its owner's name: she may change it, and this server's own account need not.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tracing::info;

use super::Error;
use crate::api::{DevServer, SuspensionReason, names};
use crate::impersonation::impersonate;

/// Takes back that `user`'s DevServer `name` is to sleep. Returns the generation of the spec that says so; none if it
/// is not there.
pub(super) async fn wake(client: &kube::Client, user: &str, name: &str) -> Result<Option<i64>, Error> {
    let generation = change(client, user, name, json!({ "suspended": false })).await?;
    info!(user, devserver = name, "woken");
    Ok(generation)
}

/// The same, before it has come to that: until the agent's word of a session that is about to begin can be heard, it is
/// not to be suspended for being idle. Whoever is first, this or the operator's suspension, it stays awake.
pub(super) async fn keep_awake(client: &kube::Client, user: &str, name: &str) -> Result<Option<i64>, Error> {
    let until = Time(Timestamp::now() + BEGINNING);
    change(client, user, name, json!({ "suspended": false, "snoozedUntil": until })).await
}

/// Whether it is suspended for being idle any moment now, as far as is known.
pub(super) fn is_about_to_sleep(server: &DevServer, now: Timestamp) -> bool {
    let planned = server.status.as_ref().and_then(|status| status.suspension.as_ref());
    planned.is_some_and(|planned| planned.reason == SuspensionReason::Idle && planned.time.0 < now + MOMENT)
}

/// How soon a suspension must be for a login to put it off.
const MOMENT: SignedDuration = SignedDuration::from_secs(30);
/// How long it is put off.
const BEGINNING: SignedDuration = SignedDuration::from_mins(2);

/// Changes `spec.lifecycle`; returns the spec's generation since then.
async fn change(client: &kube::Client, user: &str, name: &str, lifecycle: Value) -> Result<Option<i64>, Error> {
    let patch = json!({ "spec": { "lifecycle": lifecycle } });
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let namespace = names::namespace(user);
    let as_her = impersonate(client, &names::service_account_username(user), &namespace);
    match Api::<DevServer>::namespaced(as_her, &namespace).patch(name, &params, &Patch::Merge(patch)).await {
        Ok(changed) => Ok(Some(changed.metadata.generation.unwrap_or_default())),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(kube::Error::Api(status)) if super::is_unwilling(&status) => {
            Err(Error::NotWoken { name: name.to_owned(), message: status.message })
        }
        Err(error) => Err(Error::Api(error)),
    }
}

/// Whether it is to sleep.
pub(super) fn sleeps(server: &DevServer) -> bool {
    server.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.suspended)
}
