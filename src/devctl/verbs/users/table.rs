//! Users as a table: who may log in, to which teams they belong, and what they may have.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::user::{Quotas, UserLimits};
use crate::api::{DevServerTeam, DevServerUser};
use crate::devctl::output::{Cell, Colour, Table};
use crate::devctl::time;

pub(super) fn table(users: &[DevServerUser], teams: &[DevServerTeam], wide: bool, now: Timestamp) -> Table {
    let mut header = vec!["NAME", "PHASE", "TEAMS", "KEYS", "LIMITS", "AGE"];
    header.extend(if wide { &["NAMESPACE", "LOGINS", "QUOTA", "MESSAGE"][..] } else { &[] });
    let mut table = Table::new(&header);
    for user in users {
        let status = user.status.clone().unwrap_or_default();
        let complete = DevServerTeam::complete(user, teams.iter());
        let mut row: Vec<Cell> = vec![
            user.name_any().into(),
            match user.spec.disabled {
                true => Cell::coloured("Disabled", Colour::Red),
                false => format!("{:?}", status.phase).into(),
            },
            teams_of(user, teams).into(),
            user.spec.public_keys.len().to_string().into(),
            user.spec.limits.as_ref().map(limits).unwrap_or_default().into(),
            time::age(user.metadata.creation_timestamp.as_ref(), now).into(),
        ];
        if wide {
            row.extend([
                status.namespace.unwrap_or_default().into(),
                user.spec.logins.join(", ").into(),
                complete.spec.quotas.as_ref().map(quota).unwrap_or_default().into(),
                status.message.unwrap_or_default().into(),
            ]);
        }
        table.row(row);
    }
    table
}

fn teams_of(user: &DevServerUser, teams: &[DevServerTeam]) -> String {
    let name = user.name_any();
    let hers = teams.iter().filter(|team| team.spec.members.contains(&name)).map(ResourceExt::name_any);
    hers.collect::<Vec<_>>().join(", ")
}

/// What her DevServers may be.
fn limits(limits: &UserLimits) -> String {
    let UserLimits { dev_servers, flavors, max_time_to_live } = limits;
    let parts = [
        dev_servers.map(|most| format!("{most} DevServers")),
        (!flavors.is_empty()).then(|| format!("flavors {}", flavors.join(" "))),
        max_time_to_live.as_ref().map(|most| format!("at most {}", most.0)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Hers, or that of the first of her teams that has one.
fn quota(quotas: &Quotas) -> String {
    let hard = quotas.resource_quota.as_ref().and_then(|quota| quota.hard.as_ref());
    let parts = hard.into_iter().flatten().map(|(resource, amount)| format!("{resource} {}", amount.0));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_what_somebody_may() {
        let user = |name: &str, spec: serde_json::Value| -> DevServerUser {
            serde_json::from_value(json!({
                "apiVersion": "devserver.io/v1", "kind": "DevServerUser", "metadata": {"name": name}, "spec": spec,
                "status": {"phase": "Ready", "namespace": format!("dev-{name}")},
            }))
            .unwrap()
        };
        let team: DevServerTeam = serde_json::from_value(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServerTeam", "metadata": {"name": "vision"},
            "spec": {"members": ["alice"], "quotas": {"resourceQuota": {"hard": {"pods": "3"}}}},
        }))
        .unwrap();
        let limits = json!({"devServers": 2, "flavors": ["cpu", "gpu-1"], "maxTimeToLive": "8h"});
        let users = [user("alice", json!({"limits": limits})), user("bob", json!({"disabled": true}))];
        let text = table(&users, &[team], true, Timestamp::UNIX_EPOCH).render(None, false);
        let row = |at: usize| text.lines().nth(at).unwrap().to_owned();
        for part in ["alice", "Ready", "vision", "2 DevServers, flavors cpu gpu-1, at most 8h", "dev-alice", "pods 3"] {
            assert!(row(1).contains(part), "{part}: {text}");
        }
        assert!(row(2).contains("Disabled") && !row(2).contains("vision") && !row(2).contains("pods"), "{text}");
    }
}
