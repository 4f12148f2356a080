//! What is mounted into the pod, and where.

use std::iter;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::{self, names};
use crate::operator::devserver::resolve::{HomeVolume, Resolved};

/// The agent twice, as it is renewed by a second file, even where it was built for debugging; and little more.
const AGENT_FOLDER_LIMIT: &str = "256Mi";

pub(super) fn volumes(wanted: &Resolved) -> Vec<Volume> {
    let claims = claims(wanted);
    let claims = claims.iter().enumerate().map(|(index, claim)| match claim {
        Some(claim) => claim_volume(index, claim, index > 0 && is_only_read(claim, wanted)),
        None => empty_volume(&volume_name(index)),
    });
    let agent = wanted.agent.as_ref().map(|_| agent_volume());
    claims.chain(agent).chain(wanted.shm.clone().map(shm_volume)).collect()
}

pub(super) fn mounts(wanted: &Resolved) -> Vec<VolumeMount> {
    let claims = claims(wanted);
    iter::once(mount("home", &wanted.home.mount_path))
        .chain(wanted.agent.as_ref().map(|_| agent_mount()))
        .chain(wanted.shm.as_ref().map(|_| mount("shm", "/dev/shm")))
        .chain(wanted.volumes.iter().map(|volume| claim_mount(volume, &claims)))
        .collect()
}

pub(super) fn agent_mount() -> VolumeMount {
    mount("agent", names::AGENT_FOLDER)
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn empty_volume(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

/// Everybody in the pod may write in it, on a disk that belongs to the whole node. Past its limit the kubelet ends the
/// pod.
fn agent_volume() -> Volume {
    let limited = EmptyDirVolumeSource { size_limit: Some(Quantity(AGENT_FOLDER_LIMIT.to_owned())), medium: None };
    Volume { empty_dir: Some(limited), ..empty_volume("agent") }
}

fn shm_volume(size: Quantity) -> Volume {
    let in_memory = EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: Some(size) };
    Volume { name: "shm".to_owned(), empty_dir: Some(in_memory), ..Volume::default() }
}

/// The home's claim, if it has one, then each other one once: kubelets have hung on a claim that is two volumes of a
/// pod.
fn claims(wanted: &Resolved) -> Vec<Option<String>> {
    let mut claims = vec![match &wanted.home.volume {
        HomeVolume::Own { .. } => Some(names::home_claim(&wanted.name)),
        HomeVolume::Existing(claim) => Some(claim.clone()),
        HomeVolume::Ephemeral => None,
    }];
    for volume in &wanted.volumes {
        if !claims.iter().flatten().any(|claim| *claim == volume.claim) {
            claims.push(Some(volume.claim.clone()));
        }
    }
    claims
}

/// Kubelets give what may be written in to the pod's group, file by file, whatever its mounts say.
fn is_only_read(claim: &str, wanted: &Resolved) -> bool {
    wanted.volumes.iter().filter(|volume| volume.claim == claim).all(|volume| volume.read_only)
}

fn claim_volume(index: usize, claim: &str, read_only: bool) -> Volume {
    let source =
        PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: read_only.then_some(true) };
    Volume { name: volume_name(index), persistent_volume_claim: Some(source), ..Volume::default() }
}

fn claim_mount(volume: &api::Volume, claims: &[Option<String>]) -> VolumeMount {
    let index = claims.iter().position(|claim| claim.as_ref() == Some(&volume.claim)).unwrap_or_default();
    let read_only = volume.read_only.then_some(true);
    VolumeMount { read_only, ..mount(&volume_name(index), &volume.mount_path) }
}

/// A claim may have a name that a volume may not.
fn volume_name(index: usize) -> String {
    if index == 0 { "home".to_owned() } else { format!("volume-{index}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerSpec, Home};
    use crate::operator::devserver::build::test_pod;

    #[test]
    fn shared_memory_of_a_size_is_a_volume_in_memory() {
        let size = |shm: Option<&str>| {
            let spec = DevServerSpec { shm: shm.map(|size| Quantity(size.to_owned())), ..DevServerSpec::default() };
            let spec = test_pod(spec).spec.unwrap();
            let mounts = spec.containers[0].volume_mounts.clone().unwrap();
            let shm = spec.volumes.unwrap().into_iter().find(|volume| volume.name == "shm");
            assert_eq!(shm.is_some(), mounts.iter().any(|mount| mount.mount_path == "/dev/shm"));
            let memory = shm?.empty_dir.unwrap();
            assert_eq!(memory.medium.as_deref(), Some("Memory"));
            Some(memory.size_limit.unwrap().0)
        };
        assert_eq!(size(Some("8Gi")).as_deref(), Some("8Gi"));
        assert_eq!((size(Some("0")), size(None)), (None, None), "the runtime's own");
    }

    #[test]
    fn a_home_is_an_existing_claim_or_goes_with_the_pod() {
        let volumes = vec![api::Volume { claim: "mine".to_owned(), mount_path: "/data".to_owned(), read_only: false }];
        let pod =
            |home| test_pod(DevServerSpec { home: Some(home), volumes: volumes.clone(), ..DevServerSpec::default() });
        let spec = pod(Home { existing_claim: Some("mine".to_owned()), ..Home::default() }).spec.unwrap();
        let all = spec.volumes.unwrap();
        assert_eq!(all.len(), 1, "one claim, mounted twice");
        assert_eq!(all[0].persistent_volume_claim.as_ref().unwrap().claim_name, "mine");
        let mounts = spec.containers[0].volume_mounts.clone().unwrap();
        let mounts: Vec<_> = mounts.iter().map(|mount| (mount.name.as_str(), mount.mount_path.as_str())).collect();
        assert_eq!(mounts, [("home", "/home/dev"), ("home", "/data")]);

        let spec = pod(Home { ephemeral: true, ..Home::default() }).spec.unwrap();
        let home = &spec.volumes.unwrap()[0];
        assert_eq!((home.name.as_str(), home.empty_dir.is_some()), ("home", true));
    }

    #[test]
    fn claims_are_mounted_beside_the_home() {
        let volume = |claim: &str, path: &str, read_only| api::Volume {
            claim: claim.to_owned(),
            mount_path: path.to_owned(),
            read_only,
        };
        let volumes = vec![
            volume("data.2026", "/data", false),
            volume("data.2026", "/published", true),
            volume("dev-home", "/old", true),
            volume("sets", "/sets", true),
            volume("sets", "/more/sets", true),
        ];
        let spec = test_pod(DevServerSpec { volumes, ..DevServerSpec::default() }).spec.unwrap();
        let claim = |volume: &Volume| volume.persistent_volume_claim.clone().map(|source| source.claim_name);
        let all: Vec<_> = spec.volumes.iter().flatten().map(|volume| (volume.name.as_str(), claim(volume))).collect();
        let claimed = |name: &str| Some(name.to_owned());
        let expected =
            [("home", claimed("dev-home")), ("volume-1", claimed("data.2026")), ("volume-2", claimed("sets"))];
        assert_eq!(all, expected);
        let sources = spec.volumes.iter().flatten().filter_map(|volume| volume.persistent_volume_claim.clone());
        let read_only: Vec<_> = sources.map(|source| source.read_only).collect();
        assert_eq!(read_only, [None, None, Some(true)], "a volume that is only read is changed by nobody");
        let mounts = spec.containers[0].volume_mounts.iter().flatten();
        let mounts: Vec<_> =
            mounts.map(|mount| (mount.name.as_str(), mount.mount_path.as_str(), mount.read_only)).collect();
        let expected = [
            ("home", "/home/dev", None),
            ("volume-1", "/data", None),
            ("volume-1", "/published", Some(true)),
            ("home", "/old", Some(true)),
            ("volume-2", "/sets", Some(true)),
            ("volume-2", "/more/sets", Some(true)),
        ];
        assert_eq!(mounts, expected);
    }
}
