//! The claim that holds the home: made, grown, or taken over as it is.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::Context;
use super::asking::{create, namespaced, patiently};
use super::build::build_claim;
use super::done::{Done, Error};
use super::memory::Asked;
use super::refusal::Refusal;
use super::resolve::Resolved;
use crate::api::{DevServer, names};

/// Brings about the claim, and notes it and what of it cannot be had; why it is refused, and for how long to leave it
/// at that.
pub(super) async fn apply(
    context: &Context,
    key: &ObjectRef<DevServer>,
    wanted: &Resolved,
    done: &mut Done,
) -> Result<Option<(Refusal, Duration)>, Error> {
    let build = |there: Option<&PersistentVolumeClaim>| {
        let class = there.and_then(|claim| context.stores.storage_class(claim));
        build_claim(wanted, there, class.as_deref())
    };
    let mut built = build(done.claim.as_deref());
    let waits = context.memories.waits_for_it(key);
    if let (None, Some(claim)) = (&done.claim, &built.claim) {
        let asked = Asked::of(claim);
        if let Some(refused) = context.memories.still_refused(key, asked) {
            return Ok(Some(refused));
        }
        match make(context, claim, waits).await? {
            Ok(there) => done.claim = there.map(Arc::new),
            Err(refusal) => {
                let pause = context.memories.refused(key, asked, &refusal);
                return Ok(Some((refusal, pause)));
            }
        }
        built = build(done.claim.as_deref());
    }
    done.note = built.note;
    let Some(claim) = &built.claim else { return Ok(None) };
    let claims: Api<PersistentVolumeClaim> = namespaced(&context.client, claim);
    let params = PatchParams::apply(names::OPERATOR_FIELD_MANAGER).force();
    let (name, patch) = (claim.name_any(), Patch::Apply(claim));
    match patiently("home", waits, || claims.patch(&name, &params, &patch)).await.map_err(failed)? {
        Ok(applied) => done.claim = Some(Arc::new(applied)),
        // A home that cannot be changed is no reason against a pod; one that went meanwhile, and cannot be made, is.
        Err(refusal) if done.claim.is_some() => done.note = Some(refusal.message),
        Err(refusal) => {
            let pause = context.memories.refused(key, Asked::of(claim), &refusal);
            return Ok(Some((refusal, pause)));
        }
    }
    Ok(None)
}

/// Creates it, unless there is one already. One that we did not make is in no cache of ours: somebody restored it, say.
async fn make(
    context: &Context,
    claim: &PersistentVolumeClaim,
    waits: bool,
) -> Result<Result<Option<PersistentVolumeClaim>, Refusal>, Error> {
    let claims: Api<PersistentVolumeClaim> = namespaced(&context.client, claim);
    let refusal = match create("home", waits, &claims, claim).await {
        Ok(Ok(made)) => return Ok(Ok(Some(made))),
        // A quota that is used up refuses it although it is there.
        Ok(Err(refusal)) => Some(refusal),
        Err(kube::Error::Api(status)) if status.is_already_exists() => None,
        Err(error) => return Err(failed(error)),
    };
    let by_name = ListParams::default().fields(&format!("metadata.name={}", claim.name_any()));
    let there = claims.list(&by_name).await.map_err(failed)?.items.into_iter().next();
    Ok(match (there, refusal) {
        (None, Some(refusal)) => Err(refusal),
        (there, _) => Ok(there),
    })
}

fn failed(error: kube::Error) -> Error {
    Error::Claim(Box::new(error))
}
