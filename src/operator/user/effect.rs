//! What of a user's spec has no effect though it was admitted, told in conditions. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use crate::api::{DevServerUser, conditions};
use crate::identity::{is_unusable_account, short, unusable_keys};
use crate::plain::few;

/// Whether all of one field has an effect.
#[derive(Debug, PartialEq)]
pub(super) struct Effect {
    type_: &'static str,
    /// The condition's reason, where it holds and where it does not.
    reasons: (&'static str, &'static str),
    outcome: Outcome,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// The field says nothing.
    None,
    Holds,
    /// Not all of it has, and why.
    Fails(String),
}

/// Of each field whose words only we can judge. `others` are all users, this one may be among them; `code_hosts` are
/// those that the configuration names.
pub(super) fn effects<'a>(
    user: &DevServerUser,
    others: impl Iterator<Item = &'a DevServerUser>,
    code_hosts: &[String],
) -> [Effect; 3] {
    let spec = &user.spec;
    let keys = outcome(spec.public_keys.is_empty(), "publicKeys", &unusable_keys(&spec.public_keys));
    let logins = outcome(spec.logins.is_empty(), "logins", &shared_logins(user, others));
    let accounts = outcome(spec.accounts.is_empty(), "accounts", &unknown_accounts(&spec.accounts, code_hosts));
    [
        Effect { type_: conditions::KEYS_READABLE, reasons: ("Readable", "UnreadableLines"), outcome: keys },
        Effect { type_: conditions::LOGINS_UNIQUE, reasons: ("Unique", "SharedLogins"), outcome: logins },
        Effect { type_: conditions::ACCOUNTS_KNOWN, reasons: ("Known", "UnknownAccounts"), outcome: accounts },
    ]
}

impl Effect {
    /// What has none, in a sentence.
    pub(super) fn message(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::None | Outcome::Holds => None,
            Outcome::Fails(why) => Some(why),
        }
    }

    /// Puts the condition right.
    pub(super) fn set_condition(&self, all: &mut Vec<Condition>, generation: Option<i64>, now: Time) {
        let (holds, reason) = match self.outcome {
            Outcome::None => return all.retain(|condition| condition.type_ != self.type_),
            Outcome::Holds => (true, self.reasons.0),
            Outcome::Fails(_) => (false, self.reasons.1),
        };
        let message = self.message().unwrap_or_default();
        conditions::set(all, conditions::condition(self.type_, holds, reason, message, generation, now));
    }
}

fn outcome(is_empty: bool, field: &str, wrong: &[String]) -> Outcome {
    match wrong {
        _ if is_empty => Outcome::None,
        [] => Outcome::Holds,
        _ => Outcome::Fails(format!("not all of spec.{field} has an effect: {}", few(wrong, TOLD, "; "))),
    }
}

/// Who else has it is told to nobody: users read their own objects.
fn shared_logins<'a>(user: &DevServerUser, others: impl Iterator<Item = &'a DevServerUser>) -> Vec<String> {
    let name = user.name_any();
    let logins = user.spec.logins.iter().filter(|login| **login != name);
    // Nobody's, so far.
    let mut found: Vec<(&String, Option<Holder>)> = logins.map(|login| (login, None)).collect();
    if found.is_empty() {
        return Vec::new();
    }
    for other in others.filter(|other| other.name_any() != name) {
        for (login, holder) in &mut found {
            let held = match () {
                () if other.name_any() == **login => Some(Holder::ByName),
                () if !other.spec.logins.contains(*login) => None,
                () if other.precedes(user) => Some(Holder::Older),
                () => Some(Holder::Younger),
            };
            *holder = (*holder).max(held);
        }
    }
    let told = found.into_iter().filter_map(|(login, holder)| {
        let login = short(login);
        Some(match holder? {
            Holder::ByName => format!("`{login}` is another user's name, and lets that user in"),
            Holder::Older => format!("`{login}` is listed by an older user, too, and lets that one in"),
            Holder::Younger => format!("`{login}` is listed by another user, too, but lets this one in, the older"),
        })
    });
    told.collect()
}

/// Another user who has a login, the one whose it is last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Younger,
    Older,
    ByName,
}

fn unknown_accounts(accounts: &BTreeMap<String, String>, code_hosts: &[String]) -> Vec<String> {
    let known = || match code_hosts {
        [] => "it has none".to_owned(),
        _ => format!("it has {}", code_hosts.join(", ")),
    };
    let wrong = |(host, account): (&String, &String)| {
        if !code_hosts.contains(host) {
            return Some(format!("the configuration has no code host `{}`; {}", short(host), known()));
        }
        is_unusable_account(account)
            .then(|| format!("`{}` is not a name that an account at {host} can have", short(account)))
    };
    accounts.iter().filter_map(wrong).collect()
}

/// As many as one repairs at a time.
const TOLD: usize = 3;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    /// Made in that second of a minute.
    fn user(name: &str, made: u8, spec: Value) -> DevServerUser {
        serde_json::from_value(json!({
            "apiVersion": "devserver.io/v1", "kind": "DevServerUser", "spec": spec,
            "metadata": { "name": name, "creationTimestamp": format!("2026-11-01T10:00:{made:02}Z") },
        }))
        .unwrap()
    }

    fn messages(user: &DevServerUser, others: &[DevServerUser]) -> Vec<String> {
        let effects = effects(user, others.iter(), &["github".to_owned(), "gitlab".to_owned()]);
        effects.iter().filter_map(Effect::message).map(str::to_owned).collect()
    }

    #[test]
    fn what_has_an_effect_is_not_told() {
        let spec = json!({ "publicKeys": [KEY], "logins": ["Alice", "alice"], "accounts": { "github": "octocat" } });
        let alice = user("alice", 1, spec);
        let others = [alice.clone(), user("bob", 0, json!({ "logins": ["Bob"] }))];
        assert_eq!(messages(&alice, &others), [""; 0]);
    }

    #[test]
    fn what_has_none_is_told() {
        let line = |spec: Value| messages(&user("alice", 1, spec), &[]).pop().unwrap_or_default();
        let cases = [
            (
                json!({ "publicKeys": [KEY, format!("verify-required {KEY} alice@laptop")] }),
                "not all of spec.publicKeys has an effect: line 2 (ssh-ed25519 alice@laptop): verify-required is not \
                 supported",
            ),
            (
                json!({ "accounts": { "githup": "octocat" } }),
                "not all of spec.accounts has an effect: the configuration has no code host `githup`; it has github, \
                 gitlab",
            ),
            (
                json!({ "accounts": { "github": "octo cat", "gitlab": "octocat" } }),
                "not all of spec.accounts has an effect: `octo cat` is not a name that an account at github can have",
            ),
        ];
        for (spec, told) in cases {
            assert_eq!(line(spec.clone()), told, "{spec}");
        }
        let many = line(json!({ "publicKeys": ["a", "b", "c", "d", KEY, "e"] }));
        assert!(many.contains("line 3: ") && !many.contains("line 4") && many.ends_with("; and 2 more"), "{many}");
    }

    #[test]
    fn of_two_with_one_login_each_hears_whose_it_is_and_neither_of_whom() {
        let with = |name, made| user(name, made, json!({ "logins": ["smith"] }));
        let cases = [
            ((5, with("zoe", 6)), "`smith` is listed by another user, too, but lets this one in, the older"),
            ((5, with("zoe", 5)), "`smith` is listed by another user, too, but lets this one in, the older"),
            ((5, with("zoe", 4)), "`smith` is listed by an older user, too, and lets that one in"),
            ((5, with("adam", 5)), "`smith` is listed by an older user, too, and lets that one in"),
            ((5, user("smith", 6, json!({}))), "`smith` is another user's name, and lets that user in"),
        ];
        for ((made, other), told) in cases {
            let told = format!("not all of spec.logins has an effect: {told}");
            assert_eq!(messages(&with("alice", made), &[with("alice", made), other]), [told]);
        }
        // The one whose it is, whoever is looked at last.
        let [old, young] = [with("adam", 1), with("zoe", 9)];
        for others in [[old.clone(), young.clone()], [young, old]] {
            assert!(messages(&with("alice", 5), &others)[0].contains("an older user"));
        }
    }

    #[test]
    fn a_field_that_says_nothing_has_no_condition() {
        let set = |spec: Value, all: &mut Vec<Condition>| {
            for effect in effects(&user("alice", 1, spec), [].into_iter(), &[]) {
                effect.set_condition(all, Some(1), Time(Timestamp::UNIX_EPOCH));
            }
            all.iter().map(|one| (one.type_.clone(), one.status.clone(), one.reason.clone())).collect::<Vec<_>>()
        };
        let is = |type_: &str, status: &str, reason: &str| (type_.to_owned(), status.to_owned(), reason.to_owned());
        let mut all = Vec::new();
        assert_eq!(
            set(json!({ "publicKeys": ["x"], "logins": ["A"], "accounts": { "github": "a" } }), &mut all),
            [
                is("KeysReadable", "False", "UnreadableLines"),
                is("LoginsUnique", "True", "Unique"),
                is("AccountsKnown", "False", "UnknownAccounts")
            ]
        );
        assert_eq!(set(json!({ "publicKeys": [KEY] }), &mut all), [is("KeysReadable", "True", "Readable")]);
        assert_eq!(set(json!({}), &mut all), []);
    }
}
