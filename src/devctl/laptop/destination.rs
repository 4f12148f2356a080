//! `[USER@]HOST[:PORT]`: which bastion, and as whom.

use std::fmt;
use std::str::FromStr;

/// A bastion as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) user: Option<String>,
    /// May be an alias that `~/.ssh/config` knows.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
        let (user, host) = match text.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, text),
        };
        let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("expected [ADDRESS]:PORT")?)),
            // More colons than one are an IPv6 address.
            None if host.matches(':').count() == 1 => host.split_once(':').map_or((host, None), |(h, p)| (h, Some(p))),
            None => (host, None),
        };
        let port = port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or(format!("no port: `{port}`")));
        let plain = |word: &str| !word.is_empty() && !word.starts_with('-') && !word.contains(unsafe_in_a_word);
        if !plain(host) || user.as_deref().is_some_and(|user| !plain(user)) {
            return Err("expected [USER@]HOST[:PORT]".to_owned());
        }
        Ok(Self { user, host: host.to_owned(), port: port.transpose()? })
    }
}

/// Neither hosts nor users have these, and OpenSSH's files and shells make something of them.
fn unsafe_in_a_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "'\"`$\\;&<>|(){}*?!#,%/".contains(c)
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.port, self.host.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (None, _) => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(Option<String>, String, Option<u16>)> {
        let Destination { user, host, port } = text.parse().ok()?;
        Some((user, host, port))
    }

    #[test]
    fn destinations_are_read_as_ssh_reads_them() {
        let alice = || Some("alice".to_owned());
        assert_eq!(parts("bastion"), Some((None, "bastion".into(), None)));
        assert_eq!(parts("alice@bastion"), Some((alice(), "bastion".into(), None)));
        assert_eq!(parts("alice@bastion:2222"), Some((alice(), "bastion".into(), Some(2222))));
        assert_eq!(parts("ssh://alice@bastion:2222/"), Some((alice(), "bastion".into(), Some(2222))));
        assert_eq!(parts("a@b.org@bastion"), Some((Some("a@b.org".into()), "bastion".into(), None)));
        assert_eq!(parts("[2001:db8::1]:22"), Some((None, "2001:db8::1".into(), Some(22))));
        assert_eq!(parts("2001:db8::1"), Some((None, "2001:db8::1".into(), None)));
        for wrong in ["", "alice@", "@bastion", "bastion:", "bastion:0", "bastion:x", "-oProxyCommand=x", "a b", "$(x)"]
        {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn destinations_are_written_as_they_are_read() {
        for text in ["bastion", "alice@bastion:2222", "alice@[2001:db8::1]:22", "2001:db8::1"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
    }
}
