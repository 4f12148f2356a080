//! Asks the API server for what a DevServer needs.

use std::time::Duration;

use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::refusal::{self, Refusal, RefusalKind};
use crate::api::names;

/// If it is waited for, asks again for a while when it was only too early: a quota is unknown until its controller has
/// counted, some tens of milliseconds after it was made, and a first login waits for this.
pub(super) async fn patiently<T, F>(
    what: &str,
    waits: bool,
    mut ask: impl FnMut() -> F,
) -> Result<Result<T, Refusal>, kube::Error>
where
    F: Future<Output = kube::Result<T>>,
{
    let mut pause = Duration::from_millis(20);
    loop {
        let refusal = match ask().await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(kube::Error::Api(status)) => match refusal::read(&status, what) {
                Some(refusal) => refusal,
                None => return Err(kube::Error::Api(status)),
            },
            Err(error) => return Err(error),
        };
        if !waits || refusal.kind != RefusalKind::TooEarly || pause > Duration::from_millis(500) {
            return Ok(Err(refusal));
        }
        sleep(pause).await;
        pause = pause * 3 / 2;
    }
}

/// Makes `object`, which nobody has made yet.
pub(super) async fn create<K>(
    what: &str,
    waits: bool,
    api: &Api<K>,
    object: &K,
) -> Result<Result<K, Refusal>, kube::Error>
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let params = PostParams { field_manager: Some(names::OPERATOR_FIELD_MANAGER.to_owned()), ..PostParams::default() };
    patiently(what, waits, || api.create(&params, object)).await
}

pub(super) fn namespaced<A, K>(client: &Client, beside: &A) -> Api<K>
where
    A: ResourceExt,
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), &beside.namespace().unwrap_or_default())
}
