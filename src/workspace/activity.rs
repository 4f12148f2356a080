//! Tells the cluster how a pod is used, as its agent counts it: in the status of its DevServer, where whoever decides
//! about unused ones looks for it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::Workspace;
use super::carriers::Agent;
use super::notices::Plan;
use crate::agent::request;
use crate::api::{Activity, DevServer, SuspensionReason, names};

/// Reports every so often, for as long as the carrier lasts, whatever changed since; soon, while the DevServer is about to
/// be suspended for being idle.
pub(super) async fn report(
    agent: Agent,
    workspace: Workspace,
    client: kube::Client,
    every: Duration,
    mut plan: watch::Receiver<Plan>,
) {
    let servers: Api<DevServer> = Api::namespaced(client, &workspace.namespace);
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let mut reported = None;
    loop {
        wait(every, &mut plan).await;
        let activity = match agent.activity().await {
            Ok(activity) => as_times(&activity, Timestamp::now()),
            // An agent older than this server counts nothing, or the carrier is at its end.
            Err(error) => return debug!(%error, pod = workspace.pod, "the agent tells no activity"),
        };
        if reported.as_ref().is_some_and(|reported| is_same(reported, &activity)) {
            continue;
        }
        let patch = serde_json::json!({
            "apiVersion": DevServer::api_version(&()),
            "kind": DevServer::kind(&()),
            "status": { "activity": activity },
        });
        match servers.patch_status(&workspace.devserver, &params, &Patch::Apply(patch)).await {
            Ok(_) => reported = Some(activity),
            Err(error) => debug!(%error, pod = workspace.pod, "failed to report activity"),
        }
    }
}

async fn wait(every: Duration, plan: &mut watch::Receiver<Plan>) {
    let began = Instant::now();
    loop {
        let idle = plan.borrow_and_update().as_ref().is_some_and(|plan| plan.reason == SuspensionReason::Idle);
        let end = began + if idle { every.min(SOON) } else { every };
        match timeout_at(end, plan.changed()).await {
            Ok(Ok(())) => {}
            // The plans end with a shutdown only.
            Ok(Err(_)) => return tokio::time::sleep_until(end).await,
            Err(_) => return,
        }
    }
}

/// How long a sign of use may take to be told where it matters.
const SOON: Duration = Duration::from_secs(5);

fn as_times(activity: &request::Activity, now: Timestamp) -> Activity {
    let request::Activity { input_seconds, output_seconds, forwarded_seconds, programs, forwards } = activity;
    let ago = |seconds: &Option<u64>| {
        let ago = SignedDuration::from_secs(i64::try_from((*seconds)?).ok()?);
        now.checked_sub(ago).ok().map(Time)
    };
    Activity {
        last_input_time: ago(input_seconds),
        last_output_time: ago(output_seconds),
        last_forward_time: ago(forwarded_seconds),
        programs: *programs,
        forwards: *forwards,
    }
}

/// Two times that are computed from a count of whole seconds may differ by one.
fn is_same(one: &Activity, other: &Activity) -> bool {
    let near = |one: &Option<Time>, other: &Option<Time>| match (one, other) {
        (Some(one), Some(other)) => one.0.duration_since(other.0).abs() < SignedDuration::from_secs(2),
        (one, other) => one.is_none() && other.is_none(),
    };
    one.programs == other.programs
        && one.forwards == other.forwards
        && near(&one.last_input_time, &other.last_input_time)
        && near(&one.last_output_time, &other.last_output_time)
        && near(&one.last_forward_time, &other.last_forward_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_times_and_a_second_is_no_change() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let told = request::Activity {
            input_seconds: Some(60),
            output_seconds: None,
            forwarded_seconds: Some(u64::MAX),
            programs: 2,
            forwards: 0,
        };
        let activity = as_times(&told, now);
        assert_eq!(activity.last_input_time.as_ref().unwrap().0.as_second(), 1_799_999_940);
        assert!(activity.last_output_time.is_none() && activity.last_forward_time.is_none());
        let later = as_times(
            &request::Activity { input_seconds: Some(119), ..told.clone() },
            now + SignedDuration::from_secs(60),
        );
        assert!(is_same(&activity, &later));
        let typed = as_times(&request::Activity { input_seconds: Some(3), ..told.clone() }, now);
        let more = as_times(&request::Activity { programs: 3, ..told }, now);
        assert!(!is_same(&activity, &typed) && !is_same(&activity, &more));
    }
}
