//! One pod on the node, from its start until its object is gone.

use super::{container::Supervisor, init, process, sandbox::Sandbox, status, statuses::Statuses};
use crate::minik8s::{
    apiserver::{DeleteOptions, built_in_named, delete_object},
    object,
    store::{Key, Store},
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::Instant};

/// The newest state of the pod's object, none once it is gone.
pub(super) type Observed = watch::Receiver<Option<Arc<Value>>>;

pub(super) async fn run(store: Arc<Store>, sandbox: Arc<Sandbox>, mut observed: Observed) {
    let Some(first) = observed.borrow().clone() else {
        return;
    };
    let key = Key::new("pods", object::namespace(&first), object::name(&first));
    let finished = matches!(object::text(&first["status"]["phase"]), "Succeeded" | "Failed");
    if !finished && !object::is_terminating(&first) {
        run_containers(&store, &key, &first, &sandbox, &mut observed).await;
    }

    // Nobody changes the pod's state any more; what is left is to wait for its end.
    let _ = observed.wait_for(|pod| ending(pod).is_some()).await;
    sandbox.close();
    process::end_all(sandbox.mark.clone(), Duration::ZERO, false).await;
    sandbox.remove();
    let pods = built_in_named("pods");
    let at_once = DeleteOptions::of_uid(object::uid(&first)).without_grace();
    if let Err(refusal) = delete_object(&store, &pods, &key, &at_once) {
        tracing::debug!(pod = key.name, refusal = refusal.message, "the pod was gone already");
    }
}

/// Runs the containers until they are over, or ended because the pod is.
async fn run_containers(store: &Store, key: &Key, first: &Value, sandbox: &Arc<Sandbox>, observed: &mut Observed) {
    tokio::select! {
        () = init::run(sandbox) => {}
        _ = ending_other_than(observed, None) => return,
    }
    let before = &first["status"]["containerStatuses"];
    let containers: Vec<Value> = object::list(&first["spec"]["containers"])
        .iter()
        .enumerate()
        .map(|(index, container)| {
            let image = object::text(&container["image"]);
            status::first(object::name_field(container), image, &before[index])
        })
        .collect();
    let count = containers.len();
    let statuses = Arc::new(Statuses::new(containers));
    let (stop, stopped) = watch::channel(None);
    let mut running = JoinSet::new();
    for index in 0..count {
        let supervisor =
            Supervisor { sandbox: sandbox.clone(), statuses: statuses.clone(), index, stop: stopped.clone() };
        running.spawn(supervisor.run());
    }

    let uid = object::uid(first);
    let ip = sandbox.ip.to_string();
    let write = |over: bool| {
        let written = store.edit(key, |pod| {
            if object::uid(pod) == uid {
                pod["status"] = status::of_pod(&pod["status"], &statuses.read(), &ip, over);
            }
        });
        if let Err(error) = written {
            tracing::error!(error = &error as &dyn std::error::Error, "a pod's status is lost");
        }
    };
    let mut grace = None;
    loop {
        tokio::select! {
            () = statuses.changed() => write(false),
            ended = running.join_next() => match ended {
                Some(_) => {}
                None => return write(grace.is_none()),
            },
            // Looks at the state first: it may have changed before this loop began.
            seconds = ending_other_than(observed, grace) => {
                grace = Some(seconds);
                let _ = stop.send(Some(Instant::now() + Duration::from_secs(seconds)));
            }
        }
    }
}

async fn ending_other_than(observed: &mut Observed, known: Option<u64>) -> u64 {
    let changed = observed.wait_for(|pod| ending(pod).is_some() && ending(pod) != known).await.map(|pod| ending(&pod));
    match changed {
        Ok(Some(seconds)) => seconds,
        _ => std::future::pending().await,
    }
}

/// The seconds of grace the pod has left to end in, if it is to end.
fn ending(pod: &Option<Arc<Value>>) -> Option<u64> {
    match pod {
        None => Some(0),
        Some(pod) if object::is_terminating(pod) => {
            Some(pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0))
        }
        Some(_) => None,
    }
}
