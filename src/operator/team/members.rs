//! Whom a change of a team is about.

use dashmap::DashMap;
use kube::ResourceExt;

use crate::api::DevServerTeam;
use crate::operator::watch::Change;

/// Who belonged to each team when it was last seen, and what of it matters to them.
pub(in crate::operator) struct Members<T> {
    what: fn(&DevServerTeam) -> T,
    known: DashMap<String, (Vec<String>, Option<T>)>,
}

impl<T: PartialEq> Members<T> {
    pub(in crate::operator) fn new(what: fn(&DevServerTeam) -> T) -> Self {
        Self { what, known: DashMap::new() }
    }

    /// Takes note of a team that a list brings: who leaves it from now on is told.
    pub(in crate::operator) fn listed(&self, team: &DevServerTeam) {
        self.known.insert(team.name_any(), self.see(team));
    }

    /// Those who belong to the team, and those who did when it was last seen; nobody, if neither they nor what matters
    /// of it changed: its status does each time that somebody gets its volume.
    pub(in crate::operator) fn affected(&self, change: &Change<DevServerTeam>) -> Vec<String> {
        let (team, now) = match change {
            Change::Applied(team) => (team, self.see(team)),
            // One that can no longer be read tells nobody's name, and they are told when it can be read again.
            Change::Deleted(team) if team.spec.members.is_empty() => {
                let Some(mut known) = self.known.get_mut(&team.name_any()) else { return Vec::new() };
                known.1 = None;
                return known.0.clone();
            }
            Change::Deleted(team) => (team, (Vec::new(), None)),
        };
        let mut known = self.known.entry(team.name_any()).or_default();
        if matches!(change, Change::Applied(_)) && *known == now {
            return Vec::new();
        }
        let mut all = std::mem::replace(&mut *known, now).0;
        all.extend_from_slice(&team.spec.members);
        all.sort();
        all.dedup();
        all
    }

    fn see(&self, team: &DevServerTeam) -> (Vec<String>, Option<T>) {
        (team.spec.members.clone(), Some((self.what)(team)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerTeamSpec, DevServerTeamStatus};

    fn team(members: &[&str]) -> DevServerTeam {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        DevServerTeam::new("vision", DevServerTeamSpec { members, ..DevServerTeamSpec::default() })
    }

    fn applied(team: &DevServerTeam) -> Change<DevServerTeam> {
        Change::Applied(team.clone())
    }

    #[test]
    fn a_change_is_about_those_who_are_in_it_and_those_who_were() {
        let members = Members::new(|team| team.spec.quotas.clone());
        assert_eq!(members.affected(&applied(&team(&["alice", "bob"]))), ["alice", "bob"]);
        assert_eq!(members.affected(&applied(&team(&["bob", "carol"]))), ["alice", "bob", "carol"]);
        let mut told = team(&["bob", "carol"]);
        told.status = Some(DevServerTeamStatus::default());
        assert_eq!(members.affected(&applied(&told)), [""; 0], "its status is not what it is about");
        told.spec.quotas = Some(Default::default());
        assert_eq!(members.affected(&applied(&told)), ["bob", "carol"]);
        assert_eq!(members.affected(&Change::Deleted(told.clone())), ["bob", "carol"]);
        assert_eq!(members.affected(&applied(&told)), ["bob", "carol"]);
    }

    #[test]
    fn who_leaves_a_team_that_only_a_list_brought_is_told() {
        let members = Members::new(|team| team.spec.quotas.clone());
        members.listed(&team(&["alice", "bob"]));
        assert_eq!(members.affected(&applied(&team(&["bob"]))), ["alice", "bob"]);
        let members = Members::new(|team| team.spec.quotas.clone());
        assert_eq!(members.affected(&Change::Deleted(team(&["alice"]))), ["alice"], "although it was never seen");
    }

    #[test]
    fn who_leaves_a_team_that_cannot_be_read_is_told_when_it_can_be_read_again() {
        let members = Members::new(|team| team.spec.quotas.clone());
        members.listed(&team(&["alice", "bob"]));
        assert_eq!(members.affected(&Change::Deleted(team(&[]))), ["alice", "bob"]);
        assert_eq!(members.affected(&applied(&team(&["bob"]))), ["alice", "bob"]);
        members.affected(&Change::Deleted(team(&[])));
        assert_eq!(members.affected(&applied(&team(&["bob"]))), ["bob"], "as it was before");
    }
}
