//! The options before a key in `authorized_keys` (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

use std::net::IpAddr;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, fmt::strtime};

use super::address::AddressPatterns;
use super::{Permissions, Refusal, Way};

/// What stands before one key. Each option takes something away; one that cannot be honoured refuses the key.
#[derive(Debug)]
pub(super) struct Options {
    /// The key is a certificate authority's (`cert-authority`).
    pub(super) authority: bool,
    /// The principals that a certificate of it must name one of; else the user's name.
    pub(super) principals: Option<Vec<String>>,
    pub(super) expiry_time: Option<Timestamp>,
    from: Option<AddressPatterns>,
    permissions: Permissions,
}

impl Options {
    pub(super) fn parse(mut text: &str) -> Result<Self, Refusal> {
        let mut options =
            Self { authority: false, principals: None, expiry_time: None, from: None, permissions: Permissions::ALL };
        while !text.is_empty() {
            let (option, rest) = text.split_at(find_unquoted(text, &[',']).unwrap_or(text.len()));
            options.add(option).map_err(Refusal::Options)?;
            text = rest.strip_prefix(',').unwrap_or_default();
        }
        if options.principals.is_some() && !options.authority {
            return Err(Refusal::Options("principals without cert-authority".to_owned()));
        }
        Ok(options)
    }

    fn add(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(unquote(value).ok_or_else(|| format!("{name} has no quoted value"))?)),
            None => (option, None),
        };
        let name = name.to_ascii_lowercase();
        match (name.as_str(), value) {
            ("restrict", None) => self.permissions.restrict(),
            ("pty", None) => self.permissions.pty = true,
            ("no-pty", None) => self.permissions.pty = false,
            ("port-forwarding", None) => self.permissions.port_forwarding = true,
            ("no-port-forwarding", None) => self.permissions.port_forwarding = false,
            ("permitopen", Some(value)) => {
                let added = self.permissions.permit_open.add(Way::Open, "the key's options (permitopen)", &value);
                added.map_err(|error| format!("{name} {error}"))?;
            }
            ("permitlisten", Some(value)) => {
                let added = self.permissions.permit_listen.add(Way::Listen, "the key's options (permitlisten)", &value);
                added.map_err(|error| format!("{name} {error}"))?;
            }
            ("agent-forwarding", None) => self.permissions.agent_forwarding = true,
            ("no-agent-forwarding", None) => self.permissions.agent_forwarding = false,
            ("x11-forwarding", None) => self.permissions.x11_forwarding = true,
            ("no-x11-forwarding", None) => self.permissions.x11_forwarding = false,
            ("cert-authority", None) => self.authority = true,
            // No touch is asked for: russh keeps the flags of a security key's signature to itself.
            ("no-touch-required", None) => {}
            // Nothing of this is offered to anybody.
            ("user-rc" | "no-user-rc", None) => {}
            ("command", Some(value)) => set(&mut self.permissions.forced_command, &name, value)?,
            ("from", Some(value)) => set(&mut self.from, &name, AddressPatterns::parse(&value)?)?,
            ("expiry-time", Some(value)) => set(&mut self.expiry_time, &name, expiry_time(&value)?)?,
            ("principals", Some(value)) => {
                set(&mut self.principals, &name, value.split(',').map(str::to_owned).collect())?;
            }
            _ => return Err(format!("{name} is not supported")),
        }
        Ok(())
    }

    /// What somebody at `from` may do with the key at `now`.
    pub(super) fn admit(self, from: IpAddr, now: Timestamp) -> Result<Permissions, Refusal> {
        if self.expiry_time.is_some_and(|expiry| expiry < now) {
            return Err(Refusal::Expired);
        }
        if self.from.is_some_and(|patterns| !patterns.match_address(from)) {
            return Err(Refusal::Address);
        }
        Ok(self.permissions)
    }
}

/// Where the first of `wanted` stands that is not between quotes.
pub(super) fn find_unquoted(text: &str, wanted: &[char]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    let found = text.char_indices().find(|&(at, c)| {
        let literal = std::mem::replace(&mut escaped, c == '\\' && text[at + 1..].starts_with('"'));
        quoted ^= c == '"' && !literal;
        !quoted && wanted.contains(&c)
    });
    found.map(|(at, _)| at)
}

/// As sshd, which takes each of these but once.
fn set<T>(option: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match option.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is given twice")),
    }
}

fn unquote(value: &str) -> Option<String> {
    let inner = value.strip_prefix('"')?;
    match find_unquoted(value, &['"']) {
        Some(end) if end + 1 == value.len() => Some(inner.strip_suffix('"')?.replace("\\\"", "\"")),
        _ => None,
    }
}

/// `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, in the system's time zone or, with a `Z`, in UTC.
fn expiry_time(text: &str) -> Result<Timestamp, String> {
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    let civil = match digits.len() {
        _ if !digits.bytes().all(|byte| byte.is_ascii_digit()) => None,
        8 => {
            strtime::parse("%Y%m%d", digits).and_then(|time| time.to_date()).ok().map(|day| day.to_datetime(Time::MIN))
        }
        12 => DateTime::strptime("%Y%m%d%H%M", digits).ok(),
        14 => DateTime::strptime("%Y%m%d%H%M%S", digits).ok(),
        _ => None,
    };
    let time = civil.and_then(|civil| civil.to_zoned(zone).ok());
    time.map(|time| time.timestamp()).ok_or_else(|| format!("expiry-time {text:?} is not a valid time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(options: &str) -> Result<Permissions, Refusal> {
        let now = "2026-06-15T12:00:00Z".parse().unwrap();
        Options::parse(options)?.admit([10, 0, 0, 7].into(), now)
    }

    #[test]
    fn nothing_takes_nothing_away() {
        assert_eq!(admit("").unwrap(), Permissions::ALL);
    }

    #[test]
    fn restrictions_hold_in_the_order_given() {
        assert!(!admit("restrict").unwrap().pty);
        let all = "No-PTY,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc";
        assert_eq!(admit(all).unwrap(), Permissions::RESTRICTED);
        assert_eq!(admit("restrict,pty").unwrap(), Permissions { pty: true, ..Permissions::RESTRICTED });
        let allowed = Permissions { port_forwarding: true, agent_forwarding: true, ..Permissions::RESTRICTED };
        assert_eq!(admit("restrict,port-forwarding,agent-forwarding").unwrap(), allowed);
        let allowed = Permissions { x11_forwarding: true, ..Permissions::RESTRICTED };
        assert_eq!(admit("restrict,X11-forwarding").unwrap(), allowed);
        assert!(!admit("pty,restrict").unwrap().pty);
        assert_eq!(admit("no-touch-required,restrict").unwrap(), Permissions::RESTRICTED);
    }

    #[test]
    fn a_command_may_have_quotes_commas_and_blanks() {
        let permissions = admit(r#"command="echo \"a, b\" c",no-pty"#).unwrap();
        let command = Some(r#"echo "a, b" c"#.to_owned());
        assert_eq!(permissions, Permissions { forced_command: command, pty: false, ..Permissions::ALL });
    }

    #[test]
    fn addresses_and_times_are_held_to() {
        assert!(admit(r#"from="10.0.0.0/8,!10.0.0.9""#).is_ok());
        assert!(matches!(admit(r#"from="!10.0.0.7,10.0.0.0/8""#), Err(Refusal::Address)));
        for late in ["20260616", "202606151201Z", "20260615120001Z"] {
            assert!(admit(&format!("expiry-time=\"{late}\"")).is_ok(), "{late}");
        }
        for early in ["20260614", "202606151159Z", "20260615115959Z"] {
            assert!(matches!(admit(&format!("expiry-time=\"{early}\"")), Err(Refusal::Expired)), "{early}");
        }
    }

    #[test]
    fn places_to_forward_to_add_up_and_outlast_a_restriction() {
        let key =
            r#"permitopen="a:1",PermitOpen="[::1]:*",permitlisten="8080",command="date",restrict,port-forwarding"#;
        let permissions = admit(key).unwrap();
        assert!(permissions.port_forwarding && !permissions.agent_forwarding);
        assert_eq!(permissions.forced_command.as_deref(), Some("date"));
        let Permissions { permit_open, permit_listen, .. } = &permissions;
        for (host, port) in [("a", 1), ("::1", 22)] {
            assert_eq!(permit_open.refusal(host, Some(port)), None);
        }
        assert_eq!(permit_open.refusal("a", Some(2)), Some("the key's options (permitopen)"));
        assert_eq!(permit_listen.refusal("localhost", Some(8080)), None);
        assert_eq!(permit_listen.refusal("localhost", Some(0)), Some("the key's options (permitlisten)"));
        // Of the one that is not mentioned nothing is said.
        assert_eq!(admit(r#"permitopen="a:1""#).unwrap().permit_listen.refusal("localhost", Some(0)), None);
    }

    #[test]
    fn what_cannot_be_honoured_refuses_the_key() {
        let refused = [
            "environment=\"PATH=/tmp\"",
            "permitopen",
            "permitopen=\"a\"",
            "permitopen=\"80\"",
            "permitopen=\"a:1,b:2\"",
            "permitopen=\"none\"",
            "permitlisten",
            "permitlisten=\"a\"",
            "permitlisten=\"0\"",
            "permitlisten=\"any\"",
            "tunnel=\"1\"",
            "verify-required",
            "no-such-option",
            "command",
            "command=date",
            "command=\"date",
            "command=\"date\"x",
            "command=\"a\",command=\"b\"",
            "pty=\"yes\"",
            "from=\"10.0.0.0/99\"",
            "expiry-time=\"tomorrow\"",
            "expiry-time=\"20261350\"",
            "expiry-time=\"+2026061\"",
            "principals=\"a\"",
            "restrict,,pty",
            "=",
        ];
        for options in refused {
            assert!(matches!(admit(options), Err(Refusal::Options(_))), "{options}");
        }
    }

    #[test]
    fn an_authority_has_principals() {
        let options = Options::parse(r#"cert-authority,principals="alice,ops""#).unwrap();
        assert!(options.authority);
        assert_eq!(options.principals.unwrap(), ["alice", "ops"]);
    }
}
