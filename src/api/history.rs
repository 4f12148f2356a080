//! What became of a DevServer's pods: how the last one ended, and when the present one reached what.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How a DevServer's pod, or the container in it, last ended without having been asked to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastEnd {
    /// When it ended.
    pub time: Time,
    /// Why, in one word: `OutOfMemory`, `Evicted`, `Preempted`, `NodeLost`, `NodeShutdown`, `NodeRestarted`,
    /// `CommandEnded`, `Killed`, or what Kubernetes calls it.
    pub reason: String,
    /// The same in a sentence for its owner, with what to do about it.
    pub message: String,
}

/// A step of a pod on its way to readiness.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StartStep {
    /// What was reached.
    pub name: StepName,
    /// When, by the cluster's clocks.
    pub time: Time,
}

/// What a pod reaches on its way to readiness, in this order.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepName {
    /// The DevServer was made or resumed. What follows until `Created` went into the home's volume.
    Requested,
    /// The pod was made.
    Created,
    /// A node was found. Until then it waited for room, or for nodes to be added.
    Scheduled,
    /// Volumes are mounted, and the pod has its network.
    Mounted,
    /// The agent is in the pod.
    Initialized,
    /// The image is on the node.
    ImagePulled,
    /// The container started. What follows is the startup script's time.
    Started,
    /// Sessions can enter.
    Ready,
}
