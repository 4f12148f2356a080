//! Whom a change of a user's login names is about: others who have one of them, or had.

use dashmap::DashMap;
use kube::ResourceExt;

use crate::api::DevServerUser;
use crate::operator::watch::Change;

/// Which login names each user had when last seen, her own among them.
#[derive(Default)]
pub(super) struct Logins(DashMap<String, Vec<String>>);

impl Logins {
    /// Takes note of a user whom a list brings.
    pub(super) fn listed(&self, user: &DevServerUser) {
        self.0.insert(user.name_any(), all_of(user));
    }

    /// The users of `all` whose logins may be judged otherwise after `change`.
    pub(super) fn affected<'a>(
        &self,
        change: &Change<DevServerUser>,
        all: impl Iterator<Item = &'a DevServerUser>,
    ) -> Vec<String> {
        let (name, before, now) = match change {
            Change::Applied(user) => {
                let (name, now) = (user.name_any(), all_of(user));
                (name.clone(), self.0.insert(name, now.clone()).unwrap_or_default(), now)
            }
            // One that can no longer be read says nothing of them.
            Change::Deleted(user) => {
                let name = user.name_any();
                let before = self.0.remove(&name).map(|(_, before)| before);
                (name, before.unwrap_or_else(|| all_of(user)), Vec::new())
            }
        };
        if before == now {
            return Vec::new();
        }
        let is_hers = |login: &String| before.contains(login) || now.contains(login);
        let others = all.filter(|other| other.spec.logins.iter().any(is_hers));
        others.map(ResourceExt::name_any).filter(|other| *other != name).collect()
    }
}

fn all_of(user: &DevServerUser) -> Vec<String> {
    [user.name_any()].into_iter().chain(user.spec.logins.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerUserSpec, DevServerUserStatus};

    fn user(name: &str, logins: &[&str]) -> DevServerUser {
        let logins = logins.iter().map(|login| (*login).to_owned()).collect();
        DevServerUser::new(name, DevServerUserSpec { logins, ..DevServerUserSpec::default() })
    }

    #[test]
    fn a_change_is_about_those_who_have_what_was_or_came_to_be_hers() {
        let all = [user("alice", &["a", "A"]), user("bob", &["b", "c"]), user("carol", &["smith"]), user("dan", &[])];
        let logins = Logins::default();
        all.iter().for_each(|user| logins.listed(user));
        let after = |change: Change<DevServerUser>| logins.affected(&change, all.iter());
        assert_eq!(after(Change::Applied(user("zoe", &["a", "x"]))), ["alice"]);
        let mut told = user("zoe", &["a", "x"]);
        told.status = Some(DevServerUserStatus::default());
        assert_eq!(after(Change::Applied(told)), [""; 0], "her status is not what it is about");
        assert_eq!(after(Change::Applied(user("zoe", &["c"]))), ["alice", "bob"]);
        assert_eq!(after(Change::Applied(user("smith", &[]))), ["carol"], "a name is a login, too");
        assert_eq!(after(Change::Deleted(user("zoe", &[]))), ["bob"]);
        assert_eq!(after(Change::Deleted(user("smith", &[]))), ["carol"]);
        assert_eq!(after(Change::Applied(user("alice", &["a", "A"]))), [""; 0]);
    }
}
