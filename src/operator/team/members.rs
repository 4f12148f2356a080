//! Whom a change of a team is about.

use dashmap::DashMap;
use kube::ResourceExt;

use crate::api::{DevServerTeam, DevServerTeamSpec};
use crate::operator::watch::Change;

/// Tells of a team those who belong to it, and those who did when it was last seen; nobody, if neither they nor `what` of it
/// changed: its status does each time that somebody gets its volume.
pub(in crate::operator) fn members<T: PartialEq>(
    what: impl Fn(&DevServerTeam) -> T,
) -> impl Fn(&DevServerTeam) -> Vec<String> {
    let known: DashMap<String, (Vec<String>, T)> = DashMap::new();
    move |team| {
        let now = (team.spec.members.clone(), what(team));
        let mut known = known.entry(team.name_any()).or_insert_with(|| (Vec::new(), what(&gone(team.clone()))));
        if *known == now {
            return Vec::new();
        }
        let mut all = std::mem::replace(&mut *known, now).0;
        all.extend_from_slice(&team.spec.members);
        all.sort();
        all.dedup();
        all
    }
}

/// A team that was deleted is one that nobody belongs to.
pub(in crate::operator) fn as_it_is(change: Change<DevServerTeam>) -> DevServerTeam {
    match change {
        Change::Applied(team) => team,
        Change::Deleted(team) => gone(team),
    }
}

fn gone(team: DevServerTeam) -> DevServerTeam {
    DevServerTeam { spec: DevServerTeamSpec::default(), status: None, ..team }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DevServerTeamStatus;

    #[test]
    fn a_change_is_about_those_who_are_in_it_and_those_who_were() {
        let affected = members(|team| team.spec.quotas.clone());
        let team = |members: &[&str]| {
            let members = members.iter().map(|member| (*member).to_owned()).collect();
            DevServerTeam::new("vision", DevServerTeamSpec { members, ..DevServerTeamSpec::default() })
        };
        assert_eq!(affected(&team(&["alice", "bob"])), ["alice", "bob"]);
        assert_eq!(affected(&team(&["bob", "carol"])), ["alice", "bob", "carol"]);
        let mut told = team(&["bob", "carol"]);
        told.status = Some(DevServerTeamStatus::default());
        assert_eq!(affected(&told), [""; 0], "its status is not what it is about");
        told.spec.quotas = Some(Default::default());
        assert_eq!(affected(&told), ["bob", "carol"]);
        assert_eq!(affected(&as_it_is(Change::Deleted(told.clone()))), ["bob", "carol"]);
        assert_eq!(affected(&as_it_is(Change::Applied(told))), ["bob", "carol"]);
    }
}
