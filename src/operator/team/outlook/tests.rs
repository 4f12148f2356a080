use super::*;
use crate::api::{DevServerTeamSpec, TeamVolume};
use crate::operator::mirror::Mirror;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::watcher::Event;
use serde_json::json;

fn fill<K: kube::Resource, V>(mirror: &mut Mirror<V>, objects: Vec<K>, keep: impl Fn(K) -> Option<V>) {
    mirror.take(Event::<K>::Init, &keep);
    for object in objects {
        mirror.take(Event::InitApply(object), &keep);
    }
    mirror.take(Event::InitDone, &keep);
}

/// A cluster in which all steps are done at once, as Kubernetes would do them.
#[derive(Clone)]
struct World {
    team: Option<DevServerTeam>,
    users: Vec<&'static str>,
    volumes: Vec<PersistentVolume>,
    claims: Vec<PersistentVolumeClaim>,
}

impl World {
    /// alice and bob are in the team, and of them and carol all have a namespace.
    fn new() -> Self {
        let members = ["alice", "bob", "dave"].map(str::to_owned).into();
        let volume = TeamVolume { persistent_volume: "data".to_owned(), ..TeamVolume::default() };
        let spec = DevServerTeamSpec { members, volume: Some(volume), ..DevServerTeamSpec::default() };
        let template = json!({
            "metadata": { "name": "data", "uid": "data" },
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "claimRef": { "namespace": "bastion", "name": "vision" },
                "nfs": { "server": "nfs.example.org", "path": "/vision" },
            },
        });
        Self {
            team: Some(DevServerTeam::new("vision", spec)),
            users: vec!["alice", "bob", "carol"],
            volumes: vec![serde_json::from_value(template).unwrap()],
            claims: Vec::new(),
        }
    }

    fn spec(&mut self) -> &mut DevServerTeamSpec {
        &mut self.team.as_mut().unwrap().spec
    }

    fn outlook(&self) -> Outlook {
        let mut known = Known::default();
        assert!(known.outlook().is_none(), "nothing is known yet");
        let user = |name: &&str| crate::api::DevServerUser::new(name, Default::default());
        fill(&mut known.teams, self.team.iter().cloned().collect(), Some);
        fill(&mut known.users, self.users.iter().map(user).collect(), |user| Some(user.name_any()));
        fill(&mut known.volumes, self.volumes.clone(), |volume| Some(Kept::of(volume)));
        fill(&mut known.claims, self.claims.clone(), |claim| Some(Claim::of(&claim)));
        known.outlook().unwrap()
    }

    /// Until there is nothing more to do; what was done.
    fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for round in 0.. {
            assert!(round < 10, "it never settles: {done:?}");
            let steps = self.outlook().steps;
            if steps.is_empty() {
                break;
            }
            let mut told: Vec<String> = steps.iter().map(|step| self.take(step)).collect();
            told.sort();
            done.extend(told);
        }
        done
    }

    fn take(&mut self, step: &Step) -> String {
        match step {
            Step::Make(volume) => {
                let mut volume = (**volume).clone();
                volume.metadata.uid = Some(format!("uid-{}", volume.metadata.name.as_deref().unwrap()));
                let name = volume.name_any();
                self.volumes.push(volume);
                format!("make {name}")
            }
            Step::Claim(volume) => {
                let mut claim = volume.claim();
                claim.status = serde_json::from_value(json!({ "phase": "Bound" })).unwrap();
                self.claims.push(claim);
                let there = self.volumes.iter_mut().find(|one| one.name_any() == volume.name()).unwrap();
                there.spec.as_mut().unwrap().claim_ref.as_mut().unwrap().uid = Some("claim".to_owned());
                format!("claim {}", volume.name())
            }
            Step::Remove(volume) => {
                self.volumes.retain(|one| one.name_any() != volume.name());
                self.claims.retain(|one| one.owner_references()[0].uid != volume.uid);
                format!("remove {}", volume.name())
            }
        }
    }

    fn state(&self) -> TeamState {
        self.outlook().teams.remove(0).1
    }
}

const MADE: [&str; 4] =
    ["make team.vision.alice", "make team.vision.bob", "claim team.vision.alice", "claim team.vision.bob"];

#[test]
fn members_who_have_a_namespace_get_the_volume_and_lose_it_when_they_leave() {
    let mut world = World::new();
    assert_eq!(world.settle(), MADE);
    assert_eq!(world.state(), TeamState { bound: 2, ..TeamState::default() });
    world.users.push("dave");
    assert_eq!(world.settle(), ["make team.vision.dave", "claim team.vision.dave"]);
    world.spec().members.retain(|member| member != "alice");
    assert_eq!(world.settle(), ["remove team.vision.alice"]);
    // Her object is gone: she is nobody.
    world.users.retain(|user| *user != "dave");
    assert_eq!(world.settle(), ["remove team.vision.dave"]);
    assert_eq!(world.claims.len(), 1);
    world.team = None;
    assert_eq!(world.settle(), ["remove team.vision.bob"]);
    assert_eq!(world.volumes.len(), 1, "the template is no work of ours");
}

#[test]
fn a_volume_that_is_taken_from_the_team_is_taken_from_all() {
    let mut world = World::new();
    world.settle();
    world.spec().volume = None;
    assert_eq!(world.settle(), ["remove team.vision.alice", "remove team.vision.bob"]);
}

#[test]
fn without_its_template_nobody_gets_the_volume_and_nobody_loses_it() {
    let mut world = World::new();
    world.users.retain(|user| *user != "bob");
    world.settle();
    let template = world.volumes.remove(0);
    world.users.push("bob");
    assert_eq!(world.settle(), Vec::<String>::new());
    let state = world.state();
    assert_eq!(state.problem.unwrap().message, "there is no PersistentVolume data, or it is a user's");
    assert_eq!((state.bound, state.waiting), (1, vec!["bob".to_owned()]));
    world.volumes.push(template);
    assert_eq!(world.settle(), [MADE[1], MADE[3]]);
}

#[test]
fn a_home_is_no_template() {
    let mut world = World::new();
    let claim = world.volumes[0].spec.as_mut().unwrap().claim_ref.as_mut().unwrap();
    claim.namespace = Some("dev-carol".to_owned());
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(world.state().problem.unwrap().reason, "VolumeNotFound");
}

#[test]
fn one_that_is_to_be_read_only_is_made_anew() {
    let mut world = World::new();
    world.settle();
    world.spec().volume.as_mut().unwrap().read_only = true;
    let done = world.settle();
    assert_eq!(done[..2], ["remove team.vision.alice", "remove team.vision.bob"]);
    assert_eq!(done[2..], MADE);
}

#[test]
fn a_claim_that_somebody_deleted_is_made_again_with_its_volume() {
    let mut world = World::new();
    world.settle();
    world.claims.retain(|claim| claim.namespace().as_deref() != Some("dev-alice"));
    assert_eq!(world.settle(), Vec::<String>::new(), "the watch of claims may be behind that of volumes");
    let volume = world.volumes.iter_mut().find(|volume| volume.name_any() == "team.vision.alice").unwrap();
    volume.status = serde_json::from_value(json!({ "phase": "Released" })).unwrap();
    assert_eq!(world.settle(), ["remove team.vision.alice", MADE[0], MADE[2]]);
}

#[test]
fn what_is_going_is_waited_for() {
    let mut world = World::new();
    world.settle();
    let going = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let mut claim_goes = world.clone();
    claim_goes.claims[0].metadata.deletion_timestamp = going.clone();
    assert_eq!(claim_goes.settle(), Vec::<String>::new());
    assert_eq!(claim_goes.state().waiting, ["alice"]);
    let volume = world.volumes.iter_mut().find(|volume| volume.name_any() == "team.vision.alice").unwrap();
    volume.metadata.deletion_timestamp = going;
    volume.metadata.finalizers = Some(vec!["foregroundDeletion".to_owned()]);
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(world.state().waiting, ["alice"]);
    world.team = None;
    assert_eq!(world.settle(), ["remove team.vision.bob"], "alice's goes already");
}

#[test]
fn one_that_was_deleted_without_its_claim_is_deleted_with_it() {
    let mut world = World::new();
    world.settle();
    let volume = world.volumes.iter_mut().find(|volume| volume.name_any() == "team.vision.alice").unwrap();
    volume.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    volume.metadata.finalizers = Some(vec!["kubernetes.io/pv-protection".to_owned()]);
    let mut leaves = world.clone();
    leaves.spec().members.retain(|member| member != "alice");
    assert_eq!(leaves.settle(), ["remove team.vision.alice"]);
    let mut without_claim = world.clone();
    without_claim.claims.retain(|claim| claim.namespace().as_deref() != Some("dev-alice"));
    assert_eq!(without_claim.settle(), Vec::<String>::new(), "it goes by itself");
    assert_eq!(world.settle(), ["remove team.vision.alice", MADE[0], MADE[2]]);
}

#[test]
fn what_is_to_be_kept_is_not_taken_away() {
    let mut world = World::new();
    world.settle();
    world.users = vec!["carol"];
    world.spec().members.push("carol".to_owned());
    let mut outlook = world.outlook();
    outlook.keep_volumes(|volume| volume.user == "bob");
    let mut names: Vec<String> = outlook.steps.iter().map(Step::volume_name).collect();
    names.sort();
    assert_eq!(names, ["team.vision.alice", "team.vision.carol"]);
}
