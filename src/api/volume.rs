//! Claims that are mounted beside the home.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A PersistentVolumeClaim of the DevServer's own namespace, at a path of the pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Name of the claim. The pod waits for one that does not exist. Nothing here makes, grows or deletes it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub claim: String,
    /// Absolute path in the pod; what the image has there is hidden. Not the home's own, though one below it will do.
    #[schemars(length(max = 512), regex(pattern = r"^(/[^/:]+)+$"))]
    #[x_kube(validation = Rule::new("!self.matches('/[.][.]?(/|$)')").message("the path of a volume has no . or .. in it"))]
    #[x_kube(validation = Rule::new("!self.matches('^/(proc|sys|dev|[.]bastion)(/|$)')")
        .message("/proc, /sys, /dev and /.bastion are the system's; the size of /dev/shm is shm"))]
    pub mount_path: String,
    /// Whether nothing can be written there. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}
