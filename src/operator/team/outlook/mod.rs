//! What to do about teams, members and their volumes. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec};
use kube::ResourceExt;

use super::build::{MembersVolume, Pattern};
use super::known::{Claim, Kept, Known};
use super::template::{self, Problem};
use crate::api::{DevServerTeam, names};

/// One thing to do.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// She has neither volume nor claim.
    Make(Box<PersistentVolume>),
    /// She has the volume, but no claim for it.
    Claim(MembersVolume),
    /// She is to have it no more, or another.
    Remove(MembersVolume),
}

impl Step {
    pub(super) fn volume_name(&self) -> String {
        match self {
            Self::Make(volume) => volume.name_any(),
            Self::Claim(volume) | Self::Remove(volume) => volume.name(),
        }
    }
}

/// How far a team's members are.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TeamState {
    /// Why those who have no volume get none.
    pub(super) problem: Option<Problem>,
    /// Those who have it.
    pub(super) bound: usize,
    /// Those who will.
    pub(super) waiting: Vec<String>,
}

pub(super) struct Outlook {
    pub(super) steps: Vec<Step>,
    /// The teams that have a volume, or of which something was told.
    pub(super) teams: Vec<(DevServerTeam, TeamState)>,
}

impl Outlook {
    /// Takes none of these away.
    pub(super) fn keep_volumes(&mut self, is_kept: impl Fn(&MembersVolume) -> bool) {
        self.steps.retain(|step| !matches!(step, Step::Remove(volume) if is_kept(volume)));
    }
}

impl Known {
    /// None until all is known: what is not seen would be taken for missing.
    pub(super) fn outlook(&self) -> Option<Outlook> {
        let Self { teams, users, volumes, claims } = self;
        if !teams.is_whole() || !users.is_whole() || !volumes.is_whole() || !claims.is_whole() {
            return None;
        }
        let observed = Observed {
            users: users.values().map(String::as_str).collect(),
            claims: claims.values().map(|claim| ((claim.namespace.as_str(), claim.name.as_str()), claim)).collect(),
            members: volumes.values().filter_map(Kept::members).map(|volume| (volume.name(), volume)).collect(),
            templates: volumes.values().filter_map(Kept::template).collect(),
        };
        let mut steps = Vec::new();
        let mut wanted = HashSet::new();
        let mut told = Vec::new();
        for team in teams.values().filter(|team| team.metadata.deletion_timestamp.is_none()) {
            let state = observed.team(team, &mut wanted, &mut steps);
            if team.spec.volume.is_some() || team.status.is_some() {
                told.push((team.clone(), state));
            }
        }
        let is_to_go = |volume: &MembersVolume| !volume.is_going || observed.is_stuck(volume);
        let unwanted = observed.members.iter().filter(|(name, volume)| is_to_go(volume) && !wanted.contains(*name));
        steps.extend(unwanted.map(|(_, volume)| Step::Remove((*volume).clone())));
        Some(Outlook { steps, teams: told })
    }
}

struct Observed<'a> {
    users: HashSet<&'a str>,
    claims: HashMap<(&'a str, &'a str), &'a Claim>,
    members: HashMap<String, &'a MembersVolume>,
    templates: HashMap<&'a str, &'a PersistentVolumeSpec>,
}

/// What there is to do for one member.
enum Next {
    Nothing,
    Wait,
    Do(Step),
}

impl Observed<'_> {
    fn team(&self, team: &DevServerTeam, wanted: &mut HashSet<String>, steps: &mut Vec<Step>) -> TeamState {
        let name = team.name_any();
        let Some(volume) = &team.spec.volume else { return TeamState::default() };
        let template = self.templates.get(volume.persistent_volume.as_str()).copied();
        let pattern = template::access_mode(&name, volume, template)
            // Without a template there is no access mode.
            .map(|mode| template.map(|template| Pattern::new(template, mode, volume.read_only)));
        let (pattern, problem) = match pattern {
            Ok(pattern) => (pattern, None),
            Err(problem) => (None, Some(problem)),
        };
        let mut state = TeamState { problem, ..TeamState::default() };
        let members: BTreeSet<&str> = team.spec.members.iter().map(String::as_str).collect();
        for user in members.into_iter().filter(|user| names::is_user_name(user) && self.users.contains(user)) {
            wanted.insert(names::team_volume(&name, user));
            match self.member(&name, user, pattern.as_ref()) {
                Next::Nothing => state.bound += 1,
                Next::Wait => state.waiting.push(user.to_owned()),
                Next::Do(step) => {
                    state.waiting.push(user.to_owned());
                    steps.push(step);
                }
            }
        }
        state
    }

    /// Whether somebody else deleted it, and not in the foreground: nobody deletes its claim then, and it waits for
    /// that.
    fn is_stuck(&self, volume: &MembersVolume) -> bool {
        let (namespace, claim) = (names::namespace(&volume.user), names::team_claim(&volume.team));
        let claim = self.claims.get(&(namespace.as_str(), claim.as_str()));
        let is_held = claim.is_some_and(|claim| !claim.is_going && claim.owner_uids.contains(&volume.uid));
        volume.is_going && !volume.takes_its_claim && is_held
    }

    /// Without a pattern she keeps what she has.
    fn member(&self, team: &str, user: &str, pattern: Option<&Pattern>) -> Next {
        let name = names::team_volume(team, user);
        let (namespace, claim) = (names::namespace(user), names::team_claim(team));
        let claim = self.claims.get(&(namespace.as_str(), claim.as_str()));
        let Some(&volume) = self.members.get(&name) else {
            return match (claim, pattern) {
                (None, Some(pattern)) => Next::Do(Step::Make(Box::new(pattern.volume(team, user)))),
                // It goes after the volume that owned it.
                (Some(_), _) | (None, None) => Next::Wait,
            };
        };
        if volume.is_going {
            return if self.is_stuck(volume) { Next::Do(Step::Remove(volume.clone())) } else { Next::Wait };
        }
        if volume.is_released || pattern.is_some_and(|pattern| pattern.hash != volume.hash) {
            return Next::Do(Step::Remove(volume.clone()));
        }
        match claim {
            // It was there: either it is gone, and the volume will be released, or its watch is behind.
            None if volume.is_claimed => Next::Wait,
            None => Next::Do(Step::Claim(volume.clone())),
            Some(claim) => {
                let is_its = claim.volume == name && claim.owner_uids.contains(&volume.uid);
                if is_its && claim.is_bound && !claim.is_going { Next::Nothing } else { Next::Wait }
            }
        }
    }
}

#[cfg(test)]
mod tests;
