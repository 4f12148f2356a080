//! The volumes of the teams that a DevServer's owner belongs to, and what they add to her pod. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{LimitRangeSpec, PersistentVolumeClaim};
use kube::ResourceExt;

use super::resolve::{HomeVolume, Invalid, Resolved, can_mount};
use crate::api::conditions::{self, reason};
use crate::api::{DevServerTeam, Volume, names};

/// The volume of one team.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TeamVolume {
    team: String,
    volume: Volume,
    lack: Option<Lack>,
}

/// Why it cannot be mounted.
#[derive(Clone, Debug, PartialEq)]
enum Lack {
    /// It should come any moment.
    Coming,
    /// An administrator has to do something first.
    Problem(String),
}

/// The volumes of `user`'s teams, first by name first. `claims` are those of her namespace that we made.
pub(super) fn volumes(
    user: &str,
    teams: &[Arc<DevServerTeam>],
    claims: impl Fn(&str) -> Option<Arc<PersistentVolumeClaim>>,
) -> Vec<TeamVolume> {
    let is_hers = |team: &&Arc<DevServerTeam>| team.spec.members.iter().any(|member| member == user);
    let mut volumes: Vec<TeamVolume> = teams
        .iter()
        .filter(is_hers)
        .filter_map(|team| {
            let volume = team.mounted()?;
            let lack = match claims(&volume.claim).is_some_and(|claim| is_bound(&claim)) {
                true => None,
                false => Some(problem(team).map_or(Lack::Coming, Lack::Problem)),
            };
            Some(TeamVolume { team: team.name_any(), volume, lack })
        })
        .collect();
    volumes.sort_by(|one, other| one.team.cmp(&other.team));
    volumes
}

/// What of `team` matters to the pods of its members.
pub(super) fn shared(team: &DevServerTeam) -> (Option<Volume>, Option<String>, Option<LimitRangeSpec>) {
    let limits = team.spec.quotas.as_ref().and_then(|quotas| quotas.limit_range.clone());
    (team.mounted(), problem(team), limits)
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Bound") && claim.metadata.deletion_timestamp.is_none()
}

/// What the team's status says is wrong. What it says of members is not told to other members.
fn problem(team: &DevServerTeam) -> Option<String> {
    let conditions = team.status.as_ref().map(|status| &status.conditions)?;
    let ready = conditions::find(conditions, conditions::VOLUME_READY)?;
    match (ready.status.as_str(), ready.reason.as_str()) {
        ("False", reason::REFUSED) => {
            Some("its claim was refused; the team's status tells administrators why".to_owned())
        }
        ("True", _) | (_, reason::BINDING) => None,
        _ => Some(ready.message.clone()),
    }
}

/// `wanted` with those volumes that can be mounted, where nothing else is. One that lacks keeps nobody out of her
/// DevServer.
pub(super) fn mount(mut wanted: Resolved, teams: &[TeamVolume]) -> Result<Resolved, Invalid> {
    let of_claim = |claim: &str| teams.iter().find(|team| team.volume.claim == claim);
    let is_teams = |claim: &str| names::team_of_claim(claim).is_some();
    if let HomeVolume::Existing(claim) = &wanted.home.volume
        && (is_teams(claim) || of_claim(claim).is_some())
    {
        return Err(Invalid::Home("existingClaim is the volume of a team"));
    }
    for own in &mut wanted.volumes {
        match of_claim(&own.claim) {
            // By another path it is no other volume.
            Some(team) => own.read_only |= team.volume.read_only,
            // Its claim may be there for a while after she left the team; how it may be mounted, only the team says.
            None if is_teams(&own.claim) => {
                let why = "is that of a team to which you do not belong, that has no volume, or that cannot be read";
                return Err(Invalid::Volume { path: own.mount_path.clone(), why });
            }
            None => {}
        }
    }
    let mut mounted: Vec<Volume> = Vec::new();
    for TeamVolume { team: _, volume, lack } in teams.iter().filter(|_| wanted.has_team_volumes) {
        let path = &volume.mount_path;
        let is_taken = *path == wanted.home.mount_path
            || wanted.volumes.iter().chain(&mounted).any(|other| other.mount_path == *path);
        if lack.is_none() && !is_taken && can_mount(path) {
            mounted.push(volume.clone());
        }
    }
    mounted.append(&mut wanted.volumes);
    wanted.volumes = mounted;
    Ok(wanted)
}

/// What of `teams` lacks and is to be mounted.
fn lacking<'a>(wanted: &'a Resolved, teams: &'a [TeamVolume]) -> impl Iterator<Item = (&'a TeamVolume, &'a Lack)> {
    let is_wanted = |team: &TeamVolume| {
        wanted.has_team_volumes || wanted.volumes.iter().any(|volume| volume.claim == team.volume.claim)
    };
    let wanted = teams.iter().filter(move |team| is_wanted(team));
    wanted.filter_map(|team| Some((team, team.lack.as_ref()?)))
}

/// Whether a volume that lacks should be there any moment.
pub(super) fn is_coming(wanted: &Resolved, teams: &[TeamVolume]) -> bool {
    lacking(wanted, teams).any(|(_, lack)| *lack == Lack::Coming)
}

/// What the owner is told of what she lacks. Where her pod `is_late`, what should come may wait for that to go: it may
/// have the volume as it was.
pub(super) fn note(wanted: &Resolved, teams: &[TeamVolume], is_late: bool) -> Option<String> {
    let (TeamVolume { team, .. }, lack) =
        lacking(wanted, teams).find(|(_, lack)| !is_late || **lack != Lack::Coming)?;
    Some(match lack {
        Lack::Coming => format!("the volume of team {team} is not bound yet"),
        Lack::Problem(why) => format!("the volume of team {team} cannot be mounted: {why}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{self, DevServerSpec, DevServerTeamSpec, Home};
    use crate::operator::devserver::resolve::resolve;
    use crate::operator::devserver::resolve::tests::server;
    use crate::operator::tests::config;
    use serde_json::json;

    fn team(name: &str, members: &[&str], path: Option<&str>, read_only: bool) -> Arc<DevServerTeam> {
        let volume =
            api::TeamVolume { persistent_volume: "data".to_owned(), mount_path: path.map(str::to_owned), read_only };
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        let spec = DevServerTeamSpec { members, volume: Some(volume), ..DevServerTeamSpec::default() };
        Arc::new(DevServerTeam::new(name, spec))
    }

    fn claim(phase: &str) -> Option<Arc<PersistentVolumeClaim>> {
        Some(Arc::new(serde_json::from_value(json!({ "status": { "phase": phase } })).unwrap()))
    }

    fn hers(teams: &[Arc<DevServerTeam>]) -> Vec<TeamVolume> {
        volumes("alice", teams, |_| claim("Bound"))
    }

    /// Whether what lacks is coming, and what is said of it.
    fn told(spec: DevServerSpec, teams: &[TeamVolume]) -> (bool, Option<String>) {
        let wanted = resolve(&server(spec), &[], &config()).unwrap();
        (is_coming(&wanted, teams), note(&wanted, teams, false))
    }

    fn mounted(spec: DevServerSpec, teams: &[TeamVolume]) -> Vec<(String, String, bool)> {
        let wanted = mount(resolve(&server(spec), &[], &config()).unwrap(), teams).unwrap();
        let volumes = wanted.volumes.into_iter();
        volumes.map(|volume| (volume.claim, volume.mount_path, volume.read_only)).collect()
    }

    fn volume(claim: &str, path: &str, read_only: bool) -> (String, String, bool) {
        (claim.to_owned(), path.to_owned(), read_only)
    }

    #[test]
    fn a_member_has_the_volumes_of_her_teams() {
        let teams = [
            team("vision", &["alice", "bob"], None, false),
            team("speech", &["bob"], None, false),
            team("data", &["alice"], Some("/data"), true),
            Arc::new(DevServerTeam::new("plain", DevServerTeamSpec::default())),
        ];
        let expected = [volume("team.data", "/data", true), volume("team.vision", "/team/vision", false)];
        assert_eq!(mounted(DevServerSpec::default(), &hers(&teams)), expected);
    }

    #[test]
    fn what_is_hers_wins_at_a_path_and_of_two_teams_the_first() {
        let teams = [team("b", &["alice"], Some("/x"), false), team("a", &["alice"], Some("/x"), false)].to_vec();
        assert_eq!(mounted(DevServerSpec::default(), &hers(&teams)), [volume("team.a", "/x", false)]);
        let own = api::Volume { claim: "mine".to_owned(), mount_path: "/x".to_owned(), read_only: false };
        let spec = DevServerSpec { volumes: vec![own], ..DevServerSpec::default() };
        assert_eq!(mounted(spec, &hers(&teams)), [volume("mine", "/x", false)]);
        for path in ["/home/dev", "/proc", "/a/../b"] {
            let at = [team("a", &["alice"], Some(path), false)];
            assert_eq!(mounted(DevServerSpec::default(), &hers(&at)), [], "{path}");
        }
    }

    #[test]
    fn what_may_only_be_read_cannot_be_had_otherwise() {
        let teams = hers(&[team("vision", &["alice"], None, true), team("speech", &["alice"], None, false)]);
        let own = |claim: &str, path: &str| api::Volume {
            claim: claim.to_owned(),
            mount_path: path.to_owned(),
            read_only: false,
        };
        let volumes = vec![own("team.vision", "/v"), own("team.speech", "/s"), own("team.vision", "/team/vision")];
        let spec = DevServerSpec { volumes, ..DevServerSpec::default() };
        let expected = [
            volume("team.speech", "/team/speech", false),
            volume("team.vision", "/v", true),
            volume("team.speech", "/s", false),
            volume("team.vision", "/team/vision", true),
        ];
        assert_eq!(mounted(spec, &teams), expected);
        let home = Home { existing_claim: Some(names::team_claim("vision")), ..Home::default() };
        let spec = DevServerSpec { home: Some(home), ..DevServerSpec::default() };
        let refused = mount(resolve(&server(spec), &[], &config()).unwrap(), &teams).unwrap_err();
        assert_eq!(refused.to_string(), "home.existingClaim is the volume of a team");
    }

    #[test]
    fn the_volume_of_a_team_that_is_not_hers_is_not_mounted_by_its_claim() {
        let refused = |spec: DevServerSpec| {
            let teams = hers(&[team("speech", &["bob"], None, true), team("data", &["alice"], None, false)]);
            mount(resolve(&server(spec), &[], &config()).unwrap(), &teams).err().map(|invalid| invalid.to_string())
        };
        let own = |claim: &str| {
            let volume = api::Volume { claim: claim.to_owned(), mount_path: "/s".to_owned(), read_only: true };
            refused(DevServerSpec { volumes: vec![volume], ..DevServerSpec::default() })
        };
        // Whether she left it, or it cannot be read: she is in no team of that name.
        assert!(own("team.speech").unwrap().starts_with(r#"the volume at "/s" is that of a team"#));
        assert!(own("team.vision").is_some());
        assert_eq!((own("team.data"), own("team"), own("mine.data")), (None, None, None));
        let home = Home { existing_claim: Some("team.speech".to_owned()), ..Home::default() };
        let said = refused(DevServerSpec { home: Some(home), ..DevServerSpec::default() });
        assert_eq!(said.as_deref(), Some("home.existingClaim is the volume of a team"));
    }

    #[test]
    fn an_owner_who_wants_none_has_those_that_she_names() {
        let teams = [team("vision", &["alice"], None, true), team("speech", &["alice"], None, false)];
        let own = api::Volume { claim: "team.vision".to_owned(), mount_path: "/v".to_owned(), read_only: false };
        let without = DevServerSpec { mount_team_volumes: Some(false), ..DevServerSpec::default() };
        assert_eq!(mounted(without.clone(), &hers(&teams)), []);
        let lacking = volumes("alice", &teams, |_| None);
        assert_eq!(told(without.clone(), &lacking), (false, None));
        let named = DevServerSpec { volumes: vec![own], ..without };
        assert_eq!(mounted(named.clone(), &hers(&teams)), [volume("team.vision", "/v", true)]);
        let (is_coming, words) = told(named, &lacking);
        assert_eq!((is_coming, words.as_deref()), (true, Some("the volume of team vision is not bound yet")));
    }

    #[test]
    fn one_that_lacks_is_left_out_and_told() {
        let without = team("vision", &["alice"], None, false);
        let told_of = |teams: &[TeamVolume]| {
            let (is_coming, note) = told(DevServerSpec::default(), teams);
            (is_coming, note.unwrap_or_default())
        };
        let told_when = |status: &str, reason: &str| {
            let mut team = (*without).clone();
            team.status = serde_json::from_value(json!({ "conditions": [{
                "type": "VolumeReady", "status": status, "reason": reason, "message": "bob has none",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }] }))
            .unwrap();
            let found = volumes("alice", &[Arc::new(team)], |_| claim("Pending"));
            assert_eq!(mounted(DevServerSpec::default(), &found), []);
            told_of(&found)
        };
        let coming = (true, "the volume of team vision is not bound yet".to_owned());
        assert_eq!(told_of(&volumes("alice", std::slice::from_ref(&without), |_| None)), coming);
        assert_eq!(told_when("True", "Bound"), coming);
        assert_eq!(told_when("False", "Binding"), coming);
        // It may wait for the pod that runs, which is told then.
        let wanted = resolve(&server(DevServerSpec::default()), &[], &config()).unwrap();
        assert_eq!(note(&wanted, &volumes("alice", std::slice::from_ref(&without), |_| None), true), None);
        let (is_coming, words) = told_when("False", "VolumeNotFound");
        assert_eq!((is_coming, words.as_str()), (false, "the volume of team vision cannot be mounted: bob has none"));
        let (is_coming, words) = told_when("False", "Refused");
        assert!(!is_coming && !words.contains("bob"), "{words}");
        assert_eq!(told(DevServerSpec::default(), &hers(&[without])), (false, None));
    }
}
