//! Which variables a client may set for its programs (RFC 4254 §6.4).

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::identity::match_wildcards;

/// Names that clients may set (sshd_config(5), `AcceptEnv`): `*` and `?` stand for others.
#[derive(Clone, Debug)]
pub struct AcceptEnv(Vec<String>);

/// Set to 0, the shell ends with its connection. For the bastion, and always taken.
pub(super) const PERSIST: &str = "BASTION_PERSIST";
/// Of one session.
const MAX_VARIABLES: usize = 32;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 1024;
/// What makes a shell or a loader do something else than what is asked for, a forced command too, or tells what is ours
/// to tell. Whatever is accepted, not these.
const NEVER: [&str; 21] = [
    "BASHOPTS",
    "BASH_*",
    "BASTION_*",
    "CDPATH",
    "ENV",
    "GCONV_PATH",
    "GLOBIGNORE",
    "HOME",
    "IFS",
    "LD_*",
    "LOGNAME",
    "LOCPATH",
    "MAIL",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "SHELL",
    "SHELLOPTS",
    "SSH_*",
    "TERM",
    "USER",
];

impl<'de> Deserialize<'de> for AcceptEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Vec::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl AcceptEnv {
    pub(super) fn parse(patterns: Vec<String>) -> Result<Self, String> {
        let is_pattern =
            |pattern: &str| !pattern.is_empty() && pattern.bytes().all(|byte| is_word(byte) || b"*?".contains(&byte));
        match patterns.iter().find(|pattern| !is_pattern(pattern)) {
            Some(wrong) => Err(format!("{wrong:?} is no variable's name, in which * and ? may stand for others")),
            None => Ok(Self(patterns)),
        }
    }

    fn accepts(&self, name: &str) -> bool {
        let is_like = |pattern: &str| match_wildcards(pattern.as_bytes(), name.as_bytes());
        let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_word);
        is_name && !NEVER.iter().any(|pattern| is_like(pattern)) && self.0.iter().any(|pattern| is_like(pattern))
    }
}

/// How many variables a client set for one session.
#[derive(Default)]
pub(super) struct Variables(usize);

impl Variables {
    /// Whether it may set this one too.
    pub(super) fn admit(&mut self, accept: &AcceptEnv, name: &str, value: &str) -> bool {
        if name == PERSIST {
            return true;
        }
        let admitted =
            self.0 < MAX_VARIABLES && value.len() <= MAX_VALUE && !value.contains('\0') && accept.accepts(name);
        self.0 += usize::from(admitted);
        admitted
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(patterns: &[&str]) -> AcceptEnv {
        AcceptEnv::parse(patterns.iter().map(|pattern| (*pattern).to_owned()).collect()).unwrap()
    }

    #[test]
    fn names_are_taken_as_the_patterns_have_them() {
        let accept = accept(&["LANG", "LC_*", "GIT_?"]);
        for name in ["LANG", "LC_ALL", "GIT_X", PERSIST] {
            assert!(Variables::default().admit(&accept, name, "x"), "{name}");
        }
        for name in ["LANGUAGE", "lang", "GIT_XY", "LC_A=B", "", "BASTION_USER"] {
            assert!(!Variables::default().admit(&accept, name, "x"), "{name}");
        }
    }

    #[test]
    fn some_are_never_taken() {
        let all = accept(&["*"]);
        for name in ["PATH", "LD_PRELOAD", "BASH_ENV", "BASH_FUNC_ls", "ENV", "SSH_CLIENT", "BASTION_USER", "HOME"] {
            assert!(!Variables::default().admit(&all, name, "x"), "{name}");
        }
        assert!(Variables::default().admit(&all, "MY_PATH", "x"));
        assert!(!Variables::default().admit(&all, "X", "a\0b"));
        assert!(!Variables::default().admit(&all, "X", &"x".repeat(MAX_VALUE + 1)));
    }

    #[test]
    fn there_are_so_many_at_most() {
        let (all, mut variables) = (accept(&["*"]), Variables::default());
        assert!((0..MAX_VARIABLES).all(|n| variables.admit(&all, &format!("X{n}"), "x")));
        assert!(!variables.admit(&all, "ONE_MORE", "x"));
        assert!(variables.admit(&all, PERSIST, "0"));
    }

    #[test]
    fn what_can_be_no_name_is_a_mistake_in_the_settings() {
        for wrong in ["", "A B", "A=B", "!A"] {
            assert!(AcceptEnv::parse(vec![wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
