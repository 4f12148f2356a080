//! The login name tells who, and where to: `alice`, `alice+mydev` for her DevServer `mydev`, or `alice+dev.bob` for
//! bob's `dev`, which he shares with her.

use std::fmt;

use crate::api::names;

/// Which DevServer a login is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Her default one, made at her first login.
    Default,
    /// Hers of that name; it must exist, or be the default one.
    Named(String),
    /// Somebody else's, who has to share it with her.
    Shared { owner: String, name: String },
}

impl Target {
    /// Splits what the client gave as user name into the login and the target.
    pub fn parse(user_name: &str) -> (&str, Self) {
        match user_name.split_once('+') {
            Some((login, name)) => (login, Self::named(name)),
            None => (user_name, Self::Default),
        }
    }

    /// What is meant by `mydev`, or by `dev.bob`: neither a DevServer's name nor a user's has a dot.
    pub fn named(name: &str) -> Self {
        match name.split_once('.') {
            Some((server, owner)) if names::is_devserver_name(server) && names::is_user_name(owner) => {
                Self::Shared { owner: owner.to_owned(), name: server.to_owned() }
            }
            _ => Self::Named(name.to_owned()),
        }
    }

    /// What `user` means by it: her own DevServers are hers by either name.
    pub fn meant_by(self, user: &str) -> Self {
        match self {
            Self::Shared { owner, name } if owner == user => Self::Named(name),
            other => other,
        }
    }
}

/// As after the `+` of a login name; nothing for the default one.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::Named(name) => f.write_str(name),
            Self::Shared { owner, name } => write!(f, "{name}.{owner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(name: &str, owner: &str) -> Target {
        Target::Shared { owner: owner.into(), name: name.into() }
    }

    #[test]
    fn the_part_after_the_plus_names_the_devserver() {
        assert_eq!(Target::parse("alice"), ("alice", Target::Default));
        assert_eq!(Target::parse("alice+mydev"), ("alice", Target::Named("mydev".into())));
        assert_eq!(Target::parse("Alice.Smith+a+b"), ("Alice.Smith", Target::Named("a+b".into())));
        assert_eq!(Target::parse("+x"), ("", Target::Named("x".into())));
        assert_eq!(Target::parse("bob+dev.alice"), ("bob", shared("dev", "alice")));
    }

    #[test]
    fn what_can_be_nobodys_devserver_is_a_name_that_nothing_has() {
        for name in
            ["b/dev", "../dev", ".alice", "dev.", "dev..alice", "dev.alice.x", "dev.Alice", "%2e.%2e", "ä.alice"]
        {
            assert_eq!(Target::named(name), Target::Named(name.into()), "{name}");
        }
    }

    #[test]
    fn her_own_are_hers_by_either_name() {
        assert_eq!(shared("dev", "alice").meant_by("alice"), Target::Named("dev".into()));
        assert_eq!(shared("dev", "alice").meant_by("bob"), shared("dev", "alice"));
        assert_eq!(shared("dev", "alice").to_string(), "dev.alice");
    }
}
