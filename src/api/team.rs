//! `DevServerTeam`: people who share defaults, limits and a volume.

use kube::{CustomResource, KubeSchema, ResourceExt};
use serde::{Deserialize, Serialize};

use super::user::{DevServerDefaults, Quotas};
use super::{DevServerTeamStatus, DevServerUser, DevServerUserSpec, TeamVolume};

/// People who share defaults, limits and a volume. What a member's own DevServerUser says goes before; of several
/// teams, the first by name that says something. A member of several has the volumes of all.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "devserver.io",
    version = "v1",
    kind = "DevServerTeam",
    doc = "People who share defaults, limits and a volume.",
    plural = "devserverteams",
    shortname = "dst",
    status = "DevServerTeamStatus",
    derive = "Default",
    derive = "PartialEq",
    validation = Rule::new(
        "!has(self.spec.volume) || (self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))"
    ).message("a team with a volume has a name of 1 to 63 lower-case letters, digits and inner hyphens"),
    printcolumn = r#"{"name":"Members","type":"string","jsonPath":".spec.members"}"#,
    printcolumn = r#"{"name":"Flavor","type":"string","jsonPath":".spec.devServer.flavor"}"#,
    printcolumn = r#"{"name":"Volume","type":"string","jsonPath":".spec.volume.persistentVolume"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DevServerTeamSpec {
    /// Names of the DevServerUsers who belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 59)))]
    pub members: Vec<String>,
    /// What a member's default DevServer is made with, where the member's own object says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_server: Option<DevServerDefaults>,
    /// Limits of each member's namespace, each member's own, where the member's object says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
    /// Storage that is mounted in each member's DevServers. A pod that runs has it from its next start on, and keeps it
    /// until then when the member leaves the team. It counts as one claim of 1Mi against a member's quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<TeamVolume>,
}

impl DevServerTeam {
    /// `user` with what `teams` say where she says nothing.
    pub fn complete<'a>(user: &DevServerUser, teams: impl Iterator<Item = &'a Self>) -> DevServerUser {
        let name = user.name_any();
        let mut hers: Vec<&Self> = teams.filter(|team| team.spec.members.contains(&name)).collect();
        hers.sort_by_key(|team| team.name_any());
        let mut complete = user.clone();
        for team in hers {
            complete.spec = fill(complete.spec, &team.spec);
        }
        complete
    }
}

fn fill(user: DevServerUserSpec, team: &DevServerTeamSpec) -> DevServerUserSpec {
    let dev_server = match (user.dev_server, team.dev_server.clone()) {
        (Some(own), Some(team)) => Some(DevServerDefaults {
            flavor: own.flavor.or(team.flavor),
            image: own.image.or(team.image),
            home: own.home.or(team.home),
        }),
        (own, team) => own.or(team),
    };
    let quotas = match (user.quotas, team.quotas.clone()) {
        (Some(own), Some(team)) => Some(Quotas {
            resource_quota: own.resource_quota.or(team.resource_quota),
            limit_range: own.limit_range.or(team.limit_range),
        }),
        (own, team) => own.or(team),
    };
    DevServerUserSpec { dev_server, quotas, ..user }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str, members: &[&str], flavor: Option<&str>, image: Option<&str>) -> DevServerTeam {
        let defaults = DevServerDefaults {
            flavor: flavor.map(str::to_owned),
            image: image.map(str::to_owned),
            ..DevServerDefaults::default()
        };
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        DevServerTeam::new(name, DevServerTeamSpec { members, dev_server: Some(defaults), ..Default::default() })
    }

    #[test]
    fn a_team_says_what_its_members_do_not() {
        let teams = [
            team("b", &["alice", "bob"], Some("of-b"), Some("image-b")),
            team("a", &["alice"], Some("of-a"), None),
            team("0", &["bob"], Some("of-0"), None),
        ];
        let defaults = |user: &str, own: Option<&str>| {
            let own =
                own.map(|image| DevServerDefaults { image: Some(image.to_owned()), ..DevServerDefaults::default() });
            let user = DevServerUser::new(user, DevServerUserSpec { dev_server: own, ..DevServerUserSpec::default() });
            let found = DevServerTeam::complete(&user, teams.iter()).spec.dev_server.unwrap_or_default();
            (found.flavor.unwrap_or_default(), found.image.unwrap_or_default())
        };
        let pair = |flavor: &str, image: &str| (flavor.to_owned(), image.to_owned());
        assert_eq!(defaults("alice", None), pair("of-a", "image-b"));
        assert_eq!(defaults("alice", Some("own")), pair("of-a", "own"));
        assert_eq!(defaults("bob", None), pair("of-0", "image-b"));
        assert_eq!(defaults("carol", None), pair("", ""));
    }
}
