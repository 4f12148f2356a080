//! What to tell of a team's volume. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::events::{Event, EventType};

use super::outlook::TeamState;
use crate::api::conditions::{self, reason};
use crate::api::{DevServerTeam, DevServerTeamStatus, names};
use crate::operator::publish::{event, newly_false};
use crate::operator::refused::Refused;
use crate::plain::few;

/// The team's status, if it is another than it has. `refused` tells what could not be done, by the volume's name.
pub(super) fn changed(
    team: &DevServerTeam,
    state: &TeamState,
    refused: &Refused,
    now: &Time,
) -> Option<DevServerTeamStatus> {
    let generation = team.metadata.generation;
    let mut all = team.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let mut message = None;
    if team.spec.volume.is_some() {
        let (is_ready, reason, said) = verdict(team, state, refused);
        let ready = conditions::condition(conditions::VOLUME_READY, is_ready, reason, &said, generation, now.clone());
        conditions::set(&mut all, ready);
        message = Some(said);
    } else {
        all.retain(|condition| condition.type_ != conditions::VOLUME_READY);
    }
    let status = DevServerTeamStatus { message, observed_generation: generation, conditions: all };
    (team.status.as_ref() != Some(&status)).then_some(status)
}

/// The event that the change to `new` is worth. That members do not have the volume yet is no fault.
pub(super) fn fault(team: &DevServerTeam, new: &DevServerTeamStatus) -> Option<Event> {
    let before = team.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let lacking = newly_false(conditions::VOLUME_READY, before, &new.conditions)
        .filter(|lacking| lacking.reason != reason::BINDING)?;
    Some(event(EventType::Warning, "VolumeNotReady", "Share", &lacking.message))
}

fn verdict(team: &DevServerTeam, state: &TeamState, refused: &Refused) -> (bool, &'static str, String) {
    let TeamState { problem, bound, waiting } = state;
    if let Some(problem) = problem {
        return (false, problem.reason, problem.message.clone());
    }
    let name = team.name_any();
    let refusals = waiting.iter().filter_map(|user| Some((user, refused.why(&names::team_volume(&name, user))?)));
    let told: Vec<String> = refusals.map(|(user, why)| format!("{user} cannot have it: {why}")).collect();
    if !told.is_empty() {
        return (false, reason::REFUSED, few(&told, NAMED, "; "));
    }
    if !waiting.is_empty() {
        return (false, reason::BINDING, format!("these members do not have it yet: {}", few(waiting, NAMED, ", ")));
    }
    let who = match bound {
        0 => "no member has a namespace yet".to_owned(),
        1 => "1 member has it".to_owned(),
        more => format!("{more} members have it"),
    };
    (true, "Bound", who)
}

/// Of members, in a status that people read.
const NAMED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerTeamSpec, TeamVolume};
    use crate::operator::team::template::Problem;
    use jiff::Timestamp;
    use tokio::time::Instant;

    fn team(has_volume: bool) -> DevServerTeam {
        let volume = has_volume.then(TeamVolume::default);
        DevServerTeam::new("vision", DevServerTeamSpec { volume, ..DevServerTeamSpec::default() })
    }

    fn tells(state: &TeamState, refused: &[(&str, &str)]) -> (String, String) {
        let mut all = Refused::default();
        for (name, why) in refused {
            all.put((*name).to_owned(), (*why).to_owned(), Instant::now());
        }
        let status = changed(&team(true), state, &all, &Time(Timestamp::UNIX_EPOCH)).unwrap();
        let condition = &status.conditions[0];
        assert_eq!((condition.type_.as_str(), Some(&condition.message)), ("VolumeReady", status.message.as_ref()));
        (format!("{} {}", condition.status, condition.reason), condition.message.clone())
    }

    #[test]
    fn a_team_tells_who_has_its_volume_and_why_others_do_not() {
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        let state = |bound, waiting: &[&str]| TeamState {
            bound,
            waiting: waiting.iter().map(|user| (*user).to_owned()).collect(),
            problem: None,
        };
        assert_eq!(tells(&state(0, &[]), &[]), pair("True Bound", "no member has a namespace yet"));
        assert_eq!(tells(&state(2, &[]), &[]), pair("True Bound", "2 members have it"));
        let waits = state(1, &["a", "b", "c", "d", "e", "f", "g"]);
        let told = "these members do not have it yet: a, b, c, d, e, and 2 more";
        assert_eq!(tells(&waits, &[]), pair("False Binding", told));
        let told = "b cannot have it: exceeded quota";
        assert_eq!(tells(&waits, &[("team.vision.b", "exceeded quota")]), pair("False Refused", told));
        let problem = Some(Problem { reason: "VolumeNotFound", message: "there is none".to_owned() });
        let without = TeamState { problem, ..waits };
        assert_eq!(tells(&without, &[]), pair("False VolumeNotFound", "there is none"));
    }

    #[test]
    fn what_is_told_already_is_not_told_again_and_goes_with_the_volume() {
        let now = Time(Timestamp::UNIX_EPOCH);
        let tell = |team: &DevServerTeam| changed(team, &TeamState::default(), &Refused::default(), &now);
        let mut told = team(true);
        told.status = tell(&told);
        assert!(told.status.is_some() && tell(&told).is_none());
        told.spec.volume = None;
        let status = tell(&told).unwrap();
        assert_eq!((status.message, status.conditions.len()), (None, 0));
    }

    #[test]
    fn a_fault_of_the_volume_is_an_event_and_waiting_for_it_is_none() {
        let tell = |team: &DevServerTeam, state: &TeamState| {
            let status = changed(team, state, &Refused::default(), &Time(Timestamp::UNIX_EPOCH))?;
            let told = fault(team, &status).map(|event| event.note.unwrap_or_default());
            Some((status, told))
        };
        let mut team = team(true);
        let problem = Some(Problem { reason: "VolumeNotFound", message: "there is none".to_owned() });
        let (status, told) = tell(&team, &TeamState { problem, ..TeamState::default() }).unwrap();
        assert_eq!(told.as_deref(), Some("there is none"));
        team.status = Some(status);
        let waits = TeamState { waiting: vec!["bob".to_owned()], ..TeamState::default() };
        let (status, told) = tell(&team, &waits).unwrap();
        assert_eq!((status.conditions[0].reason.as_str(), told), ("Binding", None));
    }
}
