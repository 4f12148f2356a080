//! The scheduler and the kubelet of the one node: runs pods as local processes of the user who runs the cluster.
//! No isolation of any kind; of probes, only startup probes that run a program are.

mod container;
mod exec;
mod init;
mod log;
mod pod;
mod probe;
mod process;
mod sandbox;
mod schedule;
mod status;
mod statuses;

pub(super) use exec::{Exec, ExecRequest, ExecStdio};
pub(super) use log::Wanted as LogWanted;
pub(super) use process::Process;
pub(super) use sandbox::StartError;
pub(super) use schedule::NODE;

use super::{
    object,
    store::{Key, Store},
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use sandbox::Sandbox;
use schedule::Node;
use serde_json::{Value, json};
use std::{collections::HashMap, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, task::AbortHandle};

/// What processes may do with a TERM before the cluster that stops kills them.
const STOP_GRACE: Duration = Duration::from_millis(500);

pub(super) struct Kubelet {
    store: Arc<Store>,
    data: PathBuf,
    /// The head of the marks of all this cluster's processes.
    cluster: String,
    pods: Mutex<HashMap<String, RunningPod>>,
}

struct RunningPod {
    sandbox: Arc<Sandbox>,
    observed: watch::Sender<Option<Arc<Value>>>,
    task: AbortHandle,
}

impl Kubelet {
    pub(super) fn new(store: Arc<Store>, data: PathBuf, cluster: String) -> Kubelet {
        Kubelet { store, data, cluster, pods: Mutex::default() }
    }

    /// Kills what a cluster that was killed itself has left running on this data.
    pub(super) async fn end_leftovers(&self) {
        process::end_all(self.cluster.clone(), Duration::ZERO, false).await;
    }

    pub(super) async fn run(self: Arc<Kubelet>) {
        let mut cursor = self.store.follow(self.store.revision());
        loop {
            self.sync();
            cursor = match cursor.next().await {
                Ok(_) => cursor,
                // Whatever happened meanwhile: a sync looks at all there is.
                Err(_) => self.store.follow(self.store.revision()),
            };
        }
    }

    pub(super) async fn reap() {
        process::reap().await;
    }

    /// Ends every process of the cluster; `last`: there is no other cluster in this program.
    pub(super) async fn stop(&self, last: bool) {
        for pod in self.pods.lock().values() {
            // Its end is not the pod's: the next start runs it again.
            pod.task.abort();
            pod.sandbox.close();
        }
        process::end_all(self.cluster.clone(), STOP_GRACE, last).await;
    }

    pub(super) fn exec(&self, pod_uid: &str, container: &str, request: &ExecRequest) -> Result<Exec, StartError> {
        let sandbox = self.pods.lock().get(pod_uid).map(|pod| pod.sandbox.clone());
        exec::start(&*sandbox.ok_or(StartError::Closed)?, container, request)
    }

    /// What a container of the pod wrote; none if there was no run of it before this one, and that is wanted.
    pub(super) fn log(&self, pod_uid: &str, container: &str, wanted: log::Wanted) -> Option<log::Pieces> {
        let sandbox = self.pods.lock().get(pod_uid).map(|pod| pod.sandbox.clone());
        match sandbox {
            Some(sandbox) => log::read(sandbox, |sandbox| &sandbox.log, container, wanted),
            None => (!wanted.previous).then(|| futures::stream::empty().boxed()),
        }
    }

    /// Brings the pods that run in line with those that are stored.
    fn sync(self: &Arc<Kubelet>) {
        let (_, stored) = self.store.list("pods", "");
        self.schedule(&stored);
        let mut pods = self.pods.lock();
        for pod in &stored {
            match pods.get(object::uid(pod)) {
                Some(running) => running.observe(Some(pod.clone())),
                None if pod["spec"]["nodeName"] == NODE => {
                    if let Some(running) = self.start(pod, &pods) {
                        pods.insert(object::uid(pod).to_owned(), running);
                    }
                }
                None => {}
            }
        }
        pods.retain(|uid, running| {
            let exists = stored.iter().any(|pod| object::uid(pod) == uid);
            if !exists {
                running.observe(None);
            }
            exists || !running.task.is_finished()
        });
    }

    fn start(self: &Arc<Kubelet>, pod: &Arc<Value>, others: &HashMap<String, RunningPod>) -> Option<RunningPod> {
        let typed: Pod = serde_json::from_value(Value::clone(pod))
            .inspect_err(|error| tracing::error!(%error, "a stored pod is not one"))
            .ok()?;
        let sandbox = Sandbox::new(typed, self.store.clone(), &self.cluster, &self.data, free_address(others))
            .inspect_err(|error| {
                let pod = object::name(pod);
                tracing::error!(error = error as &dyn std::error::Error, pod, "no folder for a pod");
            })
            .ok()?;
        let sandbox = Arc::new(sandbox);
        let (observed, observer) = watch::channel(Some(pod.clone()));
        let task = tokio::spawn(pod::run(self.store.clone(), sandbox.clone(), observer));
        Some(RunningPod { sandbox, observed, task: task.abort_handle() })
    }

    /// Assigns what waits for a place to the node, or says why it does not fit.
    fn schedule(&self, stored: &[Arc<Value>]) {
        let typed = |pod: &Value| serde_json::from_value::<Pod>(pod.clone()).ok();
        let node = self.node();
        let mut placed: Option<Vec<Pod>> = None;
        for pod in stored {
            if pod["spec"]["nodeName"].is_string() || object::is_terminating(pod) {
                continue;
            }
            let Some(waiting) = typed(pod) else { continue };
            let placed = placed.get_or_insert_with(|| {
                let on_node = stored.iter().filter(|pod| {
                    let over = matches!(object::text(&pod["status"]["phase"]), "Succeeded" | "Failed");
                    pod["spec"]["nodeName"].is_string() && !over
                });
                on_node.filter_map(|pod| typed(pod)).collect()
            });
            let key = Key::new("pods", object::namespace(pod), object::name(pod));
            let is_bound = |claim: &str| {
                let claim = Key::new("persistentvolumeclaims", &key.namespace, claim);
                let claim = self.store.get(&claim)?;
                (!object::is_terminating(&claim)).then(|| claim["status"]["phase"] == "Bound")
            };
            let obstacle = schedule::obstacle(&waiting, &node, placed, is_bound);
            let condition = match &obstacle {
                None => object::condition("PodScheduled", true, "", ""),
                Some(why) => object::condition("PodScheduled", false, "Unschedulable", why),
            };
            let written = self.store.edit(&key, |pod| {
                if obstacle.is_none() {
                    pod["spec"]["nodeName"] = json!(NODE);
                }
                object::set_condition(&mut pod["status"], condition);
            });
            match written {
                Ok(()) if obstacle.is_none() => placed.push(waiting),
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a pod is not scheduled");
                }
            }
        }
    }

    fn node(&self) -> Node {
        let node = self.store.get(&Key::new("nodes", "", NODE));
        let node: Option<k8s_openapi::api::core::v1::Node> =
            node.and_then(|node| serde_json::from_value(Value::clone(&node)).ok());
        let node = node.unwrap_or_default();
        let allocatable = node.status.and_then(|status| status.allocatable);
        Node {
            labels: node.metadata.labels.unwrap_or_default(),
            devices: schedule::devices_of(&allocatable.unwrap_or_default()),
        }
    }
}

impl Drop for RunningPod {
    fn drop(&mut self) {
        // Without its kubelet it would take the silence for the pod's end.
        self.task.abort();
    }
}

impl RunningPod {
    fn observe(&self, pod: Option<Arc<Value>>) {
        self.observed.send_if_modified(|observed| {
            let revision = |pod: &Option<Arc<Value>>| pod.as_ref().map(|pod| object::revision(pod).to_owned());
            let changed = revision(observed) != revision(&pod);
            if changed {
                *observed = pod;
            }
            changed
        });
    }
}

/// Each pod has a loopback address to itself.
fn free_address(others: &HashMap<String, RunningPod>) -> Ipv4Addr {
    (0..u32::from(u16::MAX))
        .map(|number| Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 8, 0, 1)) + number))
        .find(|ip| others.values().all(|pod| pod.sandbox.ip != *ip))
        .unwrap_or(Ipv4Addr::LOCALHOST)
}
