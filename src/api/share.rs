//! Who else may enter a DevServer.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Somebody who may enter another one's DevServer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Name of the guest's DevServerUser. The guest logs in with `ssh USER+NAME.OWNER@bastion`, or by
    /// `ssh -J USER@bastion NAME.OWNER`.
    #[schemars(length(min = 1, max = 59), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub user: String,
    /// Whether the guest may only look at the shells there (`ssh -t USER+NAME.OWNER@bastion shells`). Otherwise the
    /// guest may do what its owner may: run programs, copy files, forward ports, and use the owner's shells. Whatever
    /// the guest runs there runs as the container's user, as the owner's own programs do, and can read and change all
    /// that they can. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}
