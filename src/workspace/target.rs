//! The login name tells who, and where to: `alice`, or `alice+mydev` for her DevServer `mydev`.

/// Which of a user's DevServers a login is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Her default one, made at her first login.
    Default,
    /// The one of that name; it must exist, or be the default one.
    Named(String),
}

impl Target {
    /// Splits what the client gave as user name into the login and the target.
    pub fn parse(user_name: &str) -> (&str, Self) {
        match user_name.split_once('+') {
            Some((login, name)) => (login, Self::Named(name.to_owned())),
            None => (user_name, Self::Default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_after_the_plus_names_the_devserver() {
        assert_eq!(Target::parse("alice"), ("alice", Target::Default));
        assert_eq!(Target::parse("alice+mydev"), ("alice", Target::Named("mydev".into())));
        assert_eq!(Target::parse("Alice.Smith+a+b"), ("Alice.Smith", Target::Named("a+b".into())));
        assert_eq!(Target::parse("+x"), ("", Target::Named("x".into())));
    }
}
