//! Whether a PersistentVolume may stand for a team's storage. Pure.

use k8s_openapi::api::core::v1::PersistentVolumeSpec;

use crate::api::{TeamVolume, names};

/// Why a team's volume cannot be given to anybody who has it not yet, in words for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The condition's reason.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

pub(super) const READ_WRITE: &str = "ReadWriteMany";
pub(super) const READ_ONLY: &str = "ReadOnlyMany";

/// The access mode of the members' volumes, if `template` is one for this team.
pub(super) fn access_mode(
    team: &str,
    volume: &TeamVolume,
    template: Option<&PersistentVolumeSpec>,
) -> Result<&'static str, Problem> {
    let name = &volume.persistent_volume;
    let problem = |reason, message| Err(Problem { reason, message });
    if !names::is_team_name(team) {
        let message =
            format!("{team:?} has a name with which it can have no volume: lower-case letters, digits and hyphens");
        return problem("InvalidName", message);
    }
    let Some(template) = template else {
        return problem("VolumeNotFound", format!("there is no PersistentVolume {name}, or it is a user's"));
    };
    if !is_kept_for(team, template) {
        let message = format!(
            "PersistentVolume {name} is not kept for this team: set its spec.claimRef to name {team} and to a namespace \
             that is not a user's, such as bastion's own"
        );
        return problem("VolumeNotReserved", message);
    }
    if template.volume_mode.as_deref() == Some("Block") {
        return problem("VolumeNotShareable", format!("PersistentVolume {name} is a block device, not a file system"));
    }
    let has = |mode: &str| template.access_modes.iter().flatten().any(|one| one == mode);
    match volume.read_only {
        true if has(READ_ONLY) => Ok(READ_ONLY),
        _ if has(READ_WRITE) => Ok(READ_WRITE),
        is_read_only => {
            let wanted = if is_read_only { "ReadOnlyMany or ReadWriteMany" } else { "ReadWriteMany" };
            problem("VolumeNotShareable", format!("PersistentVolume {name} has no access mode {wanted}"))
        }
    }
}

/// Reserved for a claim of the team's name that nobody has made, and that no user can make.
fn is_kept_for(team: &str, template: &PersistentVolumeSpec) -> bool {
    template.claim_ref.as_ref().is_some_and(|claim| {
        let namespace = claim.namespace.as_deref().unwrap_or_default();
        let is_users = namespace.is_empty() || names::user_of(namespace).is_some();
        claim.name.as_deref() == Some(team) && !is_users && claim.uid.is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn verdict(read_only: bool, template: Option<Value>) -> Result<&'static str, &'static str> {
        let template: Option<PersistentVolumeSpec> = template.map(|spec| serde_json::from_value(spec).unwrap());
        let volume = TeamVolume { persistent_volume: "data".to_owned(), read_only, ..TeamVolume::default() };
        access_mode("vision", &volume, template.as_ref()).map_err(|problem| problem.reason)
    }

    fn template(modes: &[&str]) -> Value {
        json!({ "accessModes": modes, "claimRef": { "namespace": "bastion", "name": "vision" } })
    }

    #[test]
    fn the_access_mode_is_one_that_the_template_has() {
        let (both, write, read) = ([READ_ONLY, READ_WRITE], [READ_WRITE], [READ_ONLY]);
        assert_eq!(verdict(false, Some(template(&both))), Ok(READ_WRITE));
        assert_eq!(verdict(true, Some(template(&both))), Ok(READ_ONLY));
        assert_eq!(verdict(true, Some(template(&write))), Ok(READ_WRITE));
        assert_eq!(verdict(false, Some(template(&read))), Err("VolumeNotShareable"));
        assert_eq!(verdict(true, Some(template(&["ReadWriteOnce"]))), Err("VolumeNotShareable"));
        let mut device = template(&write);
        device["volumeMode"] = "Block".into();
        assert_eq!(verdict(false, Some(device)), Err("VolumeNotShareable"));
        assert_eq!(verdict(false, None), Err("VolumeNotFound"));
    }

    #[test]
    fn only_what_is_kept_for_the_team_is_shared_with_it() {
        for claim in [
            Value::Null,
            json!({ "namespace": "bastion", "name": "speech" }),
            json!({ "namespace": "dev-alice", "name": "vision" }),
            json!({ "name": "vision" }),
            json!({ "namespace": "bastion", "name": "vision", "uid": "1" }),
        ] {
            let mut other = template(&[READ_WRITE]);
            other["claimRef"] = claim.clone();
            assert_eq!(verdict(false, Some(other)), Err("VolumeNotReserved"), "{claim}");
        }
    }
}
