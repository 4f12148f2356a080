//! Makes a user's namespace what it should be: the namespace first, then all in it at once.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::build::{self, Contents};
use super::{Config, Error, Progress, Quotas};
use crate::api::{DevServerUser, names};
use crate::telemetry::chain;

/// Makes all that `user` has before she has a pod. A namespace that is just being deleted is waited for and made anew;
/// `progress` is told, in words for the user.
///
/// A namespace of that name that was not made for her is left alone, with all that is in it. Nothing else is read
/// first: applying what is already so changes nothing, and costs one round trip, not two.
pub async fn ensure_user(
    client: &Client,
    user: &DevServerUser,
    quotas: Quotas,
    config: &Config,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let name = user.name_any();
    if !names::is_user_name(&name) {
        return Err(Error::Name(name));
    }
    let wanted = build::namespace(&name, config);
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let started = Instant::now();
    let deadline = started + config.terminating_timeout;
    loop {
        let there = look(&namespaces, &wanted.name_any()).await?;
        if there.is_some_and(|there| !is_for(&there, &name)) {
            return Err(Error::NotHers { namespace: wanted.name_any(), user: name });
        }
        let namespace = apply(&namespaces, "namespace", &wanted).await?;
        if namespace.metadata.deletion_timestamp.is_none() {
            let outcome = apply_contents(client, &name, build::contents(user, config), quotas).await;
            let gone_meanwhile = outcome.as_ref().is_err_and(Error::is_terminating);
            if !gone_meanwhile || Instant::now() >= deadline {
                return outcome;
            }
            continue;
        }
        let namespace_name = namespace.name_any();
        progress(&format!("your old namespace {namespace_name} is being deleted; waiting to make it anew"));
        let uid = namespace.uid().unwrap_or_default();
        let gone = await_condition(namespaces.clone(), &namespace_name, conditions::is_deleted(&uid));
        match timeout_at(deadline, gone).await {
            Ok(Ok(_)) => {}
            Ok(Err(source)) => return Err(Error::Watch { namespace: namespace_name, source: Box::new(source) }),
            Err(_) => return Err(Error::Terminating { namespace: namespace_name, waited: started.elapsed() }),
        }
    }
}

/// Not by `get`: whoever provisions has the right to list, to wait until an old one is gone.
async fn look(namespaces: &Api<Namespace>, name: &str) -> Result<Option<Namespace>, Error> {
    let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
    let mut patience = Patience { pause: FIRST_PAUSE };
    loop {
        match namespaces.list(&by_name).await {
            Ok(found) => return Ok(found.items.into_iter().next()),
            Err(error) => patience.after(error, "namespace", name).await?,
        }
    }
}

/// One that goes takes what is in it along.
fn is_for(there: &Namespace, user: &str) -> bool {
    there.metadata.deletion_timestamp.is_some()
        || there.labels().get(names::USER_LABEL).is_some_and(|hers| hers == user)
}

async fn apply_contents(client: &Client, user: &str, contents: Contents, known: Quotas) -> Result<(), Error> {
    let Contents { service_account, role_binding, resource_quota, limit_range, network_policy } = contents;
    let namespace = names::namespace(user);
    let (accounts, bindings, quotas) = (api(client, &namespace), api(client, &namespace), api(client, &namespace));
    let (limits, policies) = (api(client, &namespace), api(client, &namespace));
    tokio::try_join!(
        // The quota first: its controller needs a moment before the first claim is let through.
        apply_known(&quotas, "quota", &resource_quota, known),
        apply(&accounts, "service account", &service_account),
        apply(&bindings, "role binding", &role_binding),
        apply_known(&limits, "limit range", &limit_range, known),
        apply(&policies, "network policy", &network_policy),
    )?;
    Ok(())
}

fn api<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

/// Applies `object`, or makes it where there is none.
async fn apply_known<K>(api: &Api<K>, kind: &'static str, object: &K, known: Quotas) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    if known == Quotas::Known {
        return apply(api, kind, object).await.map(drop);
    }
    let params = PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let mut patience = Patience { pause: FIRST_PAUSE };
    loop {
        match api.create(&params, object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(()),
            Err(error) => patience.after(error, kind, &object.name_any()).await?,
        }
    }
}

/// Server-side apply, with patience for what passes: conflicts, overload, and a namespace that is so new that
/// not every part of the API server has heard of it.
async fn apply<K>(api: &Api<K>, kind: &'static str, object: &K) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let name = object.name_any();
    // Forced: these fields are ours; what others add beside them stays.
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let mut patience = Patience { pause: FIRST_PAUSE };
    loop {
        match api.patch(&name, &params, &Patch::Apply(object)).await {
            Ok(applied) => return Ok(applied),
            Err(error) => patience.after(error, kind, &name).await?,
        }
    }
}

/// For another attempt.
struct Patience {
    pause: Duration,
}

impl Patience {
    /// Waits a while, unless that cannot help or was done often enough.
    async fn after(&mut self, error: kube::Error, kind: &'static str, name: &str) -> Result<(), Error> {
        if self.pause > LAST_PAUSE || !may_pass(&error) {
            return Err(Error::Apply { kind, name: name.to_owned(), source: Box::new(error) });
        }
        tracing::debug!(kind, name, error = chain(&error), "failed to apply; trying again");
        sleep(self.pause).await;
        self.pause *= 2;
        Ok(())
    }
}

/// Whether trying again may help.
fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) if is_terminating(status) => false,
        kube::Error::Api(status) => matches!(status.code, 403 | 404 | 409 | 429 | 500..),
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

fn is_terminating(status: &kube::core::Status) -> bool {
    let cause = |cause: &kube::core::response::StatusCause| cause.reason == "NamespaceTerminating";
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(cause))
}

impl Error {
    /// Whether the namespace began to go while we filled it.
    fn is_terminating(&self) -> bool {
        matches!(self, Self::Apply { source, .. } if matches!(&**source, kube::Error::Api(status) if is_terminating(status)))
    }
}

/// 20 + 40 + 80 + 160 + 320 ms: long enough for a cache to fill, short enough to say "forbidden" to a person.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(320);

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn refused(code: u16, reason: &str, causes: serde_json::Value) -> kube::Error {
        let status = serde_json::json!({
            "status": "Failure", "code": code, "reason": reason, "message": "no", "details": { "causes": causes },
        });
        kube::Error::Api(Box::new(serde_json::from_value::<Status>(status).unwrap()))
    }

    #[test]
    fn a_namespace_is_hers_by_its_label_alone() {
        let namespace = |labels: serde_json::Value| -> Namespace {
            serde_json::from_value(serde_json::json!({ "metadata": { "name": "dev-alice", "labels": labels } }))
                .unwrap()
        };
        let (foreign, bobs) = (serde_json::json!({ "team": "x" }), serde_json::json!({ (names::USER_LABEL): "bob" }));
        assert!(is_for(&build::namespace("alice", &super::super::tests::config()), "alice"), "as we make it");
        assert!(!is_for(&namespace(foreign.clone()), "alice") && !is_for(&namespace(bobs), "alice"));
        assert!(!is_for(&namespace(serde_json::Value::Null), "alice"));
        let mut going = namespace(foreign);
        going.metadata.deletion_timestamp =
            Some(serde_json::from_value(serde_json::json!("2026-01-02T03:04:05Z")).unwrap());
        assert!(is_for(&going, "alice"), "it is made anew when it is gone");
    }

    #[test]
    fn races_and_overload_are_tried_again() {
        for code in [403, 404, 409, 429, 500, 503] {
            assert!(may_pass(&refused(code, "Any", serde_json::json!([]))), "{code}");
        }
        for code in [400, 401, 422] {
            assert!(!may_pass(&refused(code, "Any", serde_json::json!([]))), "{code}");
        }
    }

    #[test]
    fn a_namespace_that_goes_is_not_filled_but_made_anew() {
        let causes = serde_json::json!([{ "reason": "NamespaceTerminating", "message": "being deleted", "field": "" }]);
        let error = refused(403, "Forbidden", causes);
        assert!(!may_pass(&error));
        assert!(Error::Apply { kind: "quota", name: "x".to_owned(), source: Box::new(error) }.is_terminating());
    }
}
