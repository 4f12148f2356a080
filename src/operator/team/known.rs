//! What is kept of teams, members and volumes: of volumes far less than they are.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec};
use kube::ResourceExt;

use super::build::MembersVolume;
use crate::api::{DevServerTeam, names};
use crate::operator::mirror::Mirror;

#[derive(Default)]
pub(super) struct Known {
    pub(super) teams: Mirror<DevServerTeam>,
    /// Users who have a namespace.
    pub(super) users: Mirror<String>,
    pub(super) volumes: Mirror<Kept>,
    /// Those of members, by which they have a team's volume.
    pub(super) claims: Mirror<Claim>,
}

/// What is kept of a PersistentVolume. Most are homes', and a cluster has thousands of them.
pub(super) enum Kept {
    Members(MembersVolume),
    /// It may tell where a team's storage is.
    Template(String, Box<PersistentVolumeSpec>),
    /// It is a user's.
    Other,
}

impl Kept {
    pub(super) fn of(volume: PersistentVolume) -> Self {
        if let Some(members) = MembersVolume::of(&volume) {
            return Self::Members(members);
        }
        let name = volume.name_any();
        let spec = volume.spec.unwrap_or_default();
        let claim = spec.claim_ref.as_ref().and_then(|claim| claim.namespace.as_deref());
        match claim.and_then(names::user_of) {
            Some(_) => Self::Other,
            None => Self::Template(name, Box::new(spec)),
        }
    }

    pub(super) fn members(&self) -> Option<&MembersVolume> {
        match self {
            Self::Members(volume) => Some(volume),
            Self::Template(..) | Self::Other => None,
        }
    }

    pub(super) fn template(&self) -> Option<(&str, &PersistentVolumeSpec)> {
        match self {
            Self::Template(name, spec) => Some((name, spec)),
            Self::Members(_) | Self::Other => None,
        }
    }
}

/// What is kept of a claim.
pub(super) struct Claim {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The volume that it names.
    pub(super) volume: String,
    pub(super) owner_uids: Vec<String>,
    pub(super) is_bound: bool,
    pub(super) is_going: bool,
}

impl Claim {
    pub(super) fn of(claim: &PersistentVolumeClaim) -> Self {
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        Self {
            namespace: claim.namespace().unwrap_or_default(),
            name: claim.name_any(),
            volume: claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default(),
            owner_uids: claim.owner_references().iter().map(|owner| owner.uid.clone()).collect(),
            is_bound: phase == Some("Bound"),
            is_going: claim.metadata.deletion_timestamp.is_some(),
        }
    }
}
