//! The objects by which a member has her team's volume. Pure.

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::api::names;

/// How the volumes of a team's members are made.
pub(super) struct Pattern {
    spec: PersistentVolumeSpec,
    /// Of everything that an existing volume cannot change to.
    pub(super) hash: String,
}

impl Pattern {
    pub(super) fn new(template: &PersistentVolumeSpec, mode: &str, is_read_only: bool) -> Self {
        let mut spec = PersistentVolumeSpec {
            access_modes: Some(vec![mode.to_owned()]),
            capacity: None,
            claim_ref: None,
            persistent_volume_reclaim_policy: Some("Retain".to_owned()),
            // No class: the claim names its volume, and finds no other.
            storage_class_name: None,
            volume_attributes_class_name: None,
            ..template.clone()
        };
        if is_read_only {
            forbid_writing(&mut spec);
        }
        let json = serde_json::to_vec(&spec).expect("our own types have string keys and nothing that fails");
        let hash = Sha256::digest(json)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { spec: PersistentVolumeSpec { capacity: template.capacity.clone(), ..spec }, hash }
    }

    /// The volume that only the claim of `user` can have.
    pub(super) fn volume(&self, team: &str, user: &str) -> PersistentVolume {
        let labels =
            [(names::USER_LABEL, user), (names::TEAM_LABEL, team), (names::MANAGED_BY_LABEL, names::MANAGED_BY)];
        PersistentVolume {
            metadata: ObjectMeta {
                name: Some(names::team_volume(team, user)),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                annotations: Some([(PATTERN_HASH.to_owned(), self.hash.clone())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeSpec {
                claim_ref: Some(ObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("PersistentVolumeClaim".to_owned()),
                    namespace: Some(names::namespace(user)),
                    name: Some(names::team_claim(team)),
                    ..ObjectReference::default()
                }),
                ..self.spec.clone()
            }),
            status: None,
        }
    }
}

/// Where the source can say it: a pod that somebody else makes cannot write either then.
fn forbid_writing(spec: &mut PersistentVolumeSpec) {
    let fields = [
        spec.nfs.as_mut().map(|source| &mut source.read_only),
        spec.csi.as_mut().map(|source| &mut source.read_only),
        spec.cephfs.as_mut().map(|source| &mut source.read_only),
        spec.glusterfs.as_mut().map(|source| &mut source.read_only),
        spec.azure_file.as_mut().map(|source| &mut source.read_only),
        spec.iscsi.as_mut().map(|source| &mut source.read_only),
        spec.fc.as_mut().map(|source| &mut source.read_only),
        spec.rbd.as_mut().map(|source| &mut source.read_only),
        spec.quobyte.as_mut().map(|source| &mut source.read_only),
        spec.flex_volume.as_mut().map(|source| &mut source.read_only),
    ];
    for field in fields.into_iter().flatten() {
        *field = Some(true);
    }
}

/// A member's volume that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MembersVolume {
    pub(super) team: String,
    pub(super) user: String,
    pub(super) uid: String,
    pub(super) hash: String,
    mode: String,
    pub(super) is_going: bool,
    /// When it goes, its claim does first.
    pub(super) takes_its_claim: bool,
    /// A claim was bound to it once.
    pub(super) is_claimed: bool,
    /// Its claim is gone, and it can have no other.
    pub(super) is_released: bool,
}

impl MembersVolume {
    /// If `volume` is one of those that are made here.
    pub(super) fn of(volume: &PersistentVolume) -> Option<Self> {
        let label = |key: &str| volume.labels().get(key).map(String::as_str);
        let (team, user) = (label(names::TEAM_LABEL)?, label(names::USER_LABEL)?);
        let is_ours = label(names::MANAGED_BY_LABEL) == Some(names::MANAGED_BY);
        if !is_ours || volume.name_any() != names::team_volume(team, user) {
            return None;
        }
        let spec = volume.spec.as_ref()?;
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        Some(Self {
            team: team.to_owned(),
            user: user.to_owned(),
            uid: volume.uid().unwrap_or_default(),
            hash: volume.annotations().get(PATTERN_HASH).cloned().unwrap_or_default(),
            mode: spec.access_modes.iter().flatten().next().cloned().unwrap_or_default(),
            is_going: volume.metadata.deletion_timestamp.is_some(),
            takes_its_claim: volume.finalizers().iter().any(|finalizer| finalizer == "foregroundDeletion"),
            is_claimed: spec.claim_ref.as_ref().is_some_and(|claim| claim.uid.is_some()),
            is_released: matches!(phase, Some("Released" | "Failed")),
        })
    }

    pub(super) fn name(&self) -> String {
        names::team_volume(&self.team, &self.user)
    }

    /// The claim for it. It goes with it.
    pub(super) fn claim(&self) -> PersistentVolumeClaim {
        let labels = [
            (names::USER_LABEL, self.user.as_str()),
            (names::TEAM_LABEL, &self.team),
            (names::MANAGED_BY_LABEL, names::MANAGED_BY),
        ];
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "PersistentVolume".to_owned(),
            name: self.name(),
            uid: self.uid.clone(),
            // Or the volume would wait for its claim to go, and the claim for its volume.
            block_owner_deletion: Some(true),
            controller: None,
        };
        // Little, whatever the storage has: it is the team's, and no member's quota has to hold it.
        let size = [("storage".to_owned(), Quantity("1Mi".to_owned()))];
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(names::team_claim(&self.team)),
                namespace: Some(names::namespace(&self.user)),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec![self.mode.clone()]),
                resources: Some(VolumeResourceRequirements { requests: Some(size.into()), limits: None }),
                storage_class_name: Some(String::new()),
                volume_name: Some(self.name()),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        }
    }
}

const PATTERN_HASH: &str = "devserver.io/template-hash";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(capacity: &str) -> PersistentVolumeSpec {
        serde_json::from_value(json!({
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "capacity": { "storage": capacity },
            "claimRef": { "namespace": "bastion", "name": "vision" },
            "mountOptions": ["nfsvers=4.2"],
            "nfs": { "server": "nfs.example.org", "path": "/vision" },
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "shared",
        }))
        .unwrap()
    }

    #[test]
    fn a_members_volume_is_like_the_template_and_hers_alone() {
        let pattern = Pattern::new(&template("1Ti"), "ReadWriteMany", false);
        let mut volume = pattern.volume("vision", "alice");
        volume.metadata.uid = Some("uid-1".to_owned());
        assert_eq!(volume.metadata.name.as_deref(), Some("team.vision.alice"));
        let spec = serde_json::to_value(volume.spec.as_ref().unwrap()).unwrap();
        let expected = json!({
            "accessModes": ["ReadWriteMany"],
            "capacity": { "storage": "1Ti" },
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "dev-alice", "name": "team.vision"
            },
            "mountOptions": ["nfsvers=4.2"],
            "nfs": { "server": "nfs.example.org", "path": "/vision" },
            "persistentVolumeReclaimPolicy": "Retain",
        });
        assert_eq!(spec, expected);

        let found = MembersVolume::of(&volume).unwrap();
        assert_eq!((found.team.as_str(), found.user.as_str(), &found.hash), ("vision", "alice", &pattern.hash));
        let claim = serde_json::to_value(found.claim()).unwrap();
        assert_eq!(claim["metadata"]["namespace"], "dev-alice");
        assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        let expected = json!({
            "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Mi" } },
            "storageClassName": "", "volumeName": "team.vision.alice",
        });
        assert_eq!(claim["spec"], expected);
    }

    #[test]
    fn one_that_may_only_be_read_says_so_to_its_storage() {
        let pattern = Pattern::new(&template("1Ti"), "ReadOnlyMany", true);
        let spec = pattern.volume("vision", "alice").spec.unwrap();
        assert_eq!(spec.nfs.unwrap().read_only, Some(true));
        assert_eq!(spec.access_modes.unwrap(), ["ReadOnlyMany"]);
        for (source, value) in [
            ("iscsi", json!({ "targetPortal": "10.0.0.1", "iqn": "iqn.2026-01.org.example", "lun": 0 })),
            ("fc", json!({ "lun": 0 })),
            ("rbd", json!({ "monitors": ["10.0.0.1"], "image": "vision" })),
            ("quobyte", json!({ "registry": "10.0.0.1:7861", "volume": "vision" })),
            ("flexVolume", json!({ "driver": "example.org/vision" })),
        ] {
            let template = serde_json::from_value(json!({ source: value })).unwrap();
            let volume = Pattern::new(&template, "ReadOnlyMany", true).volume("vision", "alice");
            let spec = serde_json::to_value(volume.spec).unwrap();
            assert_eq!(spec[source]["readOnly"], true, "{source}");
        }
    }

    #[test]
    fn the_hash_tells_what_a_volume_cannot_change_to() {
        let hash = |capacity, mode, read_only| Pattern::new(&template(capacity), mode, read_only).hash;
        let first = hash("1Ti", "ReadWriteMany", false);
        assert_eq!(first, hash("2Ti", "ReadWriteMany", false));
        assert_ne!(first, hash("1Ti", "ReadWriteMany", true));
        assert_ne!(first, hash("1Ti", "ReadOnlyMany", false));
    }

    #[test]
    fn what_somebody_else_made_is_not_taken_for_a_members() {
        let volume = Pattern::new(&template("1Ti"), "ReadWriteMany", false).volume("vision", "alice");
        let mut renamed = volume.clone();
        renamed.metadata.name = Some("team.vision.bob".to_owned());
        let mut unlabelled = volume.clone();
        unlabelled.labels_mut().remove(names::MANAGED_BY_LABEL);
        assert!(MembersVolume::of(&volume).is_some());
        assert!(MembersVolume::of(&renamed).is_none() && MembersVolume::of(&unlabelled).is_none());
    }
}
