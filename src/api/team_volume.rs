//! The volume that a team shares, and what is told of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{KubeSchema, ResourceExt};
use serde::{Deserialize, Serialize};

use super::{DevServerTeam, Volume, names};

/// Storage that all members of a team see, in each of their DevServers. A claim is of one namespace; so the operator
/// makes, for each member, a PersistentVolume on that storage and a claim of the member's that is bound to it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TeamVolume {
    /// Name of a PersistentVolume that tells where the storage is: the members' are made like it. It is not mounted
    /// itself, and is kept for the team by its `spec.claimRef`, whose `name` is the team's and whose `namespace` is
    /// none of a user's; so nobody else's claim gets it, and no team gets what was not meant for it. Its access modes
    /// have to include `ReadWriteMany` (or `ReadOnlyMany`, if `readOnly` is set), and a CSI driver has to take several
    /// volumes of one `volumeHandle`. The data is never deleted.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub persistent_volume: String,
    /// Absolute path in the pods. Default: `/team/NAME`. A volume of the DevServer's own or of its flavor wins at the
    /// same path; of several teams, the first by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^(/[^/:]+)+$"))]
    #[x_kube(validation = Rule::new("!self.matches('/[.][.]?(/|$)')").message("the path of a volume has no . or .. in it"))]
    #[x_kube(validation = Rule::new("!self.matches('^/(proc|sys|dev|[.]bastion)(/|$)')")
        .message("/proc, /sys, /dev and /.bastion are the system's"))]
    pub mount_path: Option<String>,
    /// Whether members can only read it. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// What the operator observed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DevServerTeamStatus {
    /// What became of the team's volume, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The spec's generation that this status tells about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `VolumeReady`: the members who have a namespace have the team's volume. Only of a team whose spec has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

impl DevServerTeam {
    /// What its members' DevServers mount, if it has a volume.
    pub fn mounted(&self) -> Option<Volume> {
        let TeamVolume { persistent_volume: _, mount_path, read_only } = self.spec.volume.clone()?;
        let name = self.name_any();
        Some(Volume {
            claim: names::team_claim(&name),
            mount_path: mount_path.unwrap_or_else(|| format!("/team/{name}")),
            read_only,
        })
    }
}
