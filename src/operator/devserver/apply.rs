//! Makes the cluster what was resolved: the claim, the pod, the status.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt};
use tracing::info;

use super::asking::{create, namespaced};
use super::build::{build_pod, is_same_template};
use super::done::{Done, Error};
use super::fetch::Seen;
use super::memory::Asked;
use super::refusal::{Refusal, RefusalKind};
use super::resolve::{HomeVolume, Resolved};
use super::step::{Situation, Step, Volume, belongs_to, next_step, volume};
use super::{Context, home, team};
use crate::api::{DevServer, DevServerStatus, Phase, names, write_status};

/// The claim first: a volume takes longest, and a pod that names a missing claim is put aside by the scheduler.
pub(super) async fn apply(
    context: &Context,
    key: &ObjectRef<DevServer>,
    wanted: &Resolved,
    seen: Seen,
) -> Result<Done, Error> {
    let template = build_pod(wanted);
    let is_late = seen.pod.as_deref().is_some_and(|pod| !is_same_template(pod, &template));
    let lacking = team::note(wanted, &seen.team_volumes, is_late);
    let is_coming = team::is_coming(wanted, &seen.team_volumes);
    let mut done = Done::nothing(seen);
    if let Some((refusal, pause)) = home::apply(context, key, wanted, &mut done).await? {
        return Ok(done.refused(refusal, pause));
    }
    done.note = done.note.or(lacking);
    let (volume, patience) = match volume_and_patience(context, key, wanted, done.claim.as_deref()) {
        (Volume::Binding, patience) => (Volume::Binding, patience),
        _ if is_coming => (Volume::TeamsBinding, context.memories.patience(key, &context.config)),
        ready => ready,
    };
    let situation = Situation {
        pod: done.pod.as_deref(),
        wanted: &template,
        owner_uid: &wanted.owner.uid,
        volume,
        patience,
        pause: context.memories.pause(key, &context.config),
    };
    done.step = next_step(&situation);
    match done.step {
        Step::Keep => {
            if is_late {
                let late = "its flavor, its owner's teams or a default changed; it takes effect when the pod is next made \
                            (`devctl suspend`, `devctl resume`)";
                done.note.get_or_insert_with(|| late.to_owned());
            }
        }
        // A pod that is to sleep, or goes with its DevServer, is not applied.
        Step::WaitUntilGone | Step::Suspend | Step::End => {}
        Step::WaitForVolume | Step::WaitForTeamsVolume => done.look_again = Some(patience),
        Step::Pause(pause) => done.look_again = Some(pause),
        Step::Replace | Step::ClearAway => {
            if let Some(pod) = &done.pod {
                delete_pod(context, pod, done.step).await?;
                if done.step == Step::Replace {
                    context.memories.replaced(key);
                }
            }
        }
        Step::Create => {
            let asked = Asked::of(&template);
            if let Some((refusal, rest)) = context.memories.still_refused(key, asked) {
                return Ok(done.refused(refusal, rest));
            }
            let waits = context.memories.waits_for_it(key);
            match create_pod(&context.client, &template, &wanted.owner.uid, waits).await? {
                Created::Made(pod) => {
                    context.memories.made(key);
                    done.pod = Some(Arc::new(*pod));
                }
                Created::Exists => {}
                Created::Unlabelled(pod) => {
                    if pod.metadata.deletion_timestamp.is_none() {
                        delete_pod(context, &pod, Step::Replace).await?;
                        context.memories.replaced(key);
                    }
                    done.look_again = Some(UNSEEN);
                }
                Created::Gone => done.look_again = Some(UNSEEN),
                Created::Refused(refusal) => {
                    let pause = context.memories.refused(key, asked, &refusal);
                    return Ok(done.refused(refusal, pause));
                }
            }
        }
    }
    Ok(done)
}

/// A spec that cannot be had leaves its pod as it is; but one of an earlier DevServer of that name is not its pod.
pub(super) async fn keep(context: &Context, server: &DevServer, seen: Seen) -> Result<Done, Error> {
    let mut done = Done::nothing(seen);
    let uid = server.uid().unwrap_or_default();
    if let Some(pod) = done.pod.as_deref().filter(|pod| !belongs_to(pod, &uid)) {
        done.step = match pod.metadata.deletion_timestamp {
            Some(_) => Step::WaitUntilGone,
            None => Step::Replace,
        };
        if done.step == Step::Replace {
            delete_pod(context, pod, done.step).await?;
        }
    }
    Ok(done)
}

fn volume_and_patience(
    context: &Context,
    key: &ObjectRef<DevServer>,
    wanted: &Resolved,
    claim: Option<&PersistentVolumeClaim>,
) -> (Volume, Duration) {
    // Of a claim that is not ours the scheduler knows more, and tells.
    if !matches!(wanted.home.volume, HomeVolume::Own { .. }) {
        return (Volume::BindsWithPod, Duration::ZERO);
    }
    let class = claim.and_then(|claim| context.stores.storage_class(claim));
    match claim.map_or(Volume::Binding, |claim| volume(claim, class.as_deref())) {
        Volume::Binding => (Volume::Binding, context.memories.patience(key, &context.config)),
        ready => (ready, Duration::ZERO),
    }
}

enum Created {
    Made(Box<Pod>),
    /// Ours, made a moment ago; the watch will bring it.
    Exists,
    /// Ours, but no watch will bring it: somebody took off the label that it is watched by.
    Unlabelled(Box<Pod>),
    /// By now.
    Gone,
    Refused(Refusal),
}

/// Create, not apply: the name is the lock that keeps two pods from ever sharing a home.
async fn create_pod(client: &Client, pod: &Pod, owner_uid: &str, waits: bool) -> Result<Created, Error> {
    let pods: Api<Pod> = namespaced(client, pod);
    match create("pod", waits, &pods, pod).await {
        Ok(Ok(pod)) => {
            info!(namespace = pod.namespace(), pod = pod.name_any(), "pod made");
            Ok(Created::Made(Box::new(pod)))
        }
        Ok(Err(refusal)) => Ok(Created::Refused(refusal)),
        Err(kube::Error::Api(status)) if status.code == 409 => already_exists(&pods, &pod.name_any(), owner_uid).await,
        Err(error) => Err(Error::CreatePod(Box::new(error))),
    }
}

/// How soon to look again for a pod that no watch tells of.
const UNSEEN: Duration = Duration::from_secs(1);

/// A pod that somebody else made is in no cache of ours.
async fn already_exists(pods: &Api<Pod>, name: &str, owner_uid: &str) -> Result<Created, Error> {
    let there = pods.get_opt(name).await.map_err(|error| Error::CreatePod(Box::new(error)))?;
    let Some(pod) = there else { return Ok(Created::Gone) };
    if pod.labels().get(names::MANAGED_BY_LABEL).is_some_and(|manager| manager == names::MANAGED_BY) {
        return Ok(Created::Exists);
    }
    if pod.owner_references().iter().any(|owner| owner.uid == owner_uid) {
        return Ok(Created::Unlabelled(Box::new(pod)));
    }
    let message = format!("there is a pod {name} that is not this DevServer's; delete it or rename the DevServer");
    Ok(Created::Refused(Refusal { kind: RefusalKind::NameTaken, message }))
}

pub(super) async fn delete_pod(context: &Context, pod: &Pod, why: Step) -> Result<(), Error> {
    let pods: Api<Pod> = namespaced(&context.client, pod);
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match pods.delete(&pod.name_any(), &params).await {
        Ok(_) => {
            info!(namespace = pod.namespace(), pod = pod.name_any(), ?why, "pod deleted");
            // Of a DevServer that goes nobody asks any more.
            if why != Step::End {
                context.going.told(pod);
            }
            Ok(())
        }
        // Gone, or another by now: the watch will tell.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Error::DeletePod(Box::new(error))),
    }
}

/// Writes the status if it changed.
pub(super) async fn apply_status(client: &Client, server: &DevServer, status: &DevServerStatus) -> Result<(), Error> {
    // Of the SSH server's making.
    let known = server.status.clone().map(|known| DevServerStatus {
        activity: None,
        told_time: None,
        // A start is not held up by telling each of its steps: they come with the next word of it.
        steps: if status.phase == Phase::Running { known.steps } else { status.steps.clone() },
        ..known
    });
    if known.as_ref() == Some(status) {
        return Ok(());
    }
    let was = server.status.as_ref().map(|status| status.phase);
    let name = server.name_any();
    if was != Some(status.phase) {
        let message = status.message.as_deref();
        info!(namespace = server.namespace(), devserver = name, phase = ?status.phase, ?was, message, "phase changed");
    }
    let servers: Api<DevServer> = namespaced(client, server);
    let written = write_status(&servers, names::OPERATOR_FIELD_MANAGER, &name, status).await;
    written.map_err(|error| Error::Status(Box::new(error)))
}
