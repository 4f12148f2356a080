//! Takes the steps, and writes what is told of a team.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client, ResourceExt};
use tracing::info;

use super::build::MembersVolume;
use super::outlook::Step;
use crate::api::names;

/// Why a step could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("failed to make the volume")]
    Volume(#[source] Box<kube::Error>),
    #[error("failed to make the claim")]
    Claim(#[source] Box<kube::Error>),
    #[error("there is another PersistentVolume {0}")]
    VolumeNameTaken(String),
    #[error("there is another claim {name} in namespace {namespace}")]
    NameTaken { namespace: String, name: String },
    #[error("failed to delete the volume")]
    Remove(#[source] Box<kube::Error>),
}

impl Error {
    /// For administrators, who read the team's status.
    pub(super) fn user_message(&self) -> String {
        match self {
            Self::Volume(error) | Self::Claim(error) | Self::Remove(error) => match &**error {
                kube::Error::Api(status) => status.message.clone(),
                // The log has more.
                _ => "the cluster did not answer".to_owned(),
            },
            Self::VolumeNameTaken(_) | Self::NameTaken { .. } => format!("{self}: it has to go"),
        }
    }
}

/// Takes `step`; with it, whose volume it is about.
pub(super) async fn take(client: &Client, step: Step) -> (String, Result<(), Error>) {
    let name = step.volume_name();
    let outcome = match &step {
        Step::Make(volume) => make(client, volume).await,
        Step::Claim(volume) => claim(client, volume).await,
        Step::Remove(volume) => remove(client, volume).await,
    };
    (name, outcome)
}

/// Create, not apply: these are never changed, and so no right to change them is needed.
async fn make(client: &Client, volume: &PersistentVolume) -> Result<(), Error> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    match volumes.create(&params(), volume).await {
        Ok(made) => {
            info!(volume = made.name_any(), "a team's volume made for a member");
            match MembersVolume::of(&made) {
                Some(made) => claim(client, &made).await,
                None => Ok(()),
            }
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let name = volume.name_any();
            let only = ListParams::default().fields(&format!("metadata.name={name}"));
            let there = volumes.list(&only).await.map_err(|error| Error::Volume(Box::new(error)))?;
            // Ours, made a moment ago, and the watch will bring it; or one of somebody else's.
            match there.items.iter().all(|volume| MembersVolume::of(volume).is_some()) {
                true => Ok(()),
                false => Err(Error::VolumeNameTaken(name)),
            }
        }
        Err(error) => Err(Error::Volume(Box::new(error))),
    }
}

async fn claim(client: &Client, volume: &MembersVolume) -> Result<(), Error> {
    let (namespace, name) = (names::namespace(&volume.user), names::team_claim(&volume.team));
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    match claims.create(&params(), &volume.claim()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let only = ListParams::default().fields(&format!("metadata.name={name}"));
            let there = claims.list(&only).await.map_err(|error| Error::Claim(Box::new(error)))?;
            // Ours, made a moment ago, or one of hers that is in no cache of ours.
            let is_ours = |claim: &PersistentVolumeClaim| claim.labels().get(names::TEAM_LABEL) == Some(&volume.team);
            match there.items.iter().all(is_ours) {
                true => Ok(()),
                false => Err(Error::NameTaken { namespace, name }),
            }
        }
        Err(error) => Err(Error::Claim(Box::new(error))),
    }
}

/// In the foreground: its claim goes first, once no pod mounts it.
async fn remove(client: &Client, volume: &MembersVolume) -> Result<(), Error> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(Preconditions { uid: Some(volume.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    match volumes.delete(&volume.name(), &params).await {
        Ok(_) => {
            info!(volume = volume.name(), "a team's volume taken from a member; its data is kept");
            Ok(())
        }
        // Gone, or another by now: the watch will tell.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Error::Remove(Box::new(error))),
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(names::OPERATOR_FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
