//! What of a user's may be forwarded, and who says no.

use std::fmt;

use tracing::info;

use crate::ssh::logged_in::LoggedIn;
use crate::workspace::Address;

/// A connection or a listener, in the client's words: what these lead to is found out later.
#[derive(Clone, Copy)]
pub(in crate::ssh) enum Asked<'a> {
    /// `-L`, `-D`, `-W` and `-J`.
    Connect(&'a Address),
    /// `-R`.
    Listen(&'a Address),
}

/// Longer than what anybody would read.
const MAX_LOGGED: usize = 256;

impl LoggedIn {
    /// Whether she may have what is asked for; if not, the log tells why.
    pub(in crate::ssh) fn admits(&self, asked: Asked<'_>) -> bool {
        let by = self.refusal(asked);
        if let Some(by) = by {
            info!(user = self.identity.user(), %asked, by, "refused to forward connections");
        }
        by.is_none()
    }

    /// What says no, in the order that sshd asks in.
    pub(in crate::ssh) fn refusal(&self, asked: Asked<'_>) -> Option<&'static str> {
        let (config, permissions) = (&self.context.config, self.identity.permissions());
        if !config.allow_port_forwarding || !permissions.port_forwarding {
            return Some(refused_by(config.allow_port_forwarding));
        }
        let is_socket = matches!(asked, Asked::Connect(Address::Unix(_)) | Asked::Listen(Address::Unix(_)));
        let allowed = config.allow_stream_local_forwarding;
        if is_socket && !(allowed && permissions.stream_local_forwarding) {
            return Some(refused_by(allowed));
        }
        let (lists, host, port) = match asked {
            Asked::Connect(Address::Tcp { host, port }) => {
                ([&config.permit_open, &permissions.permit_open], host, Some(*port))
            }
            Asked::Connect(Address::Unix(path)) => ([&config.permit_open, &permissions.permit_open], path, None),
            Asked::Listen(Address::Tcp { host, port }) => {
                ([&config.permit_listen, &permissions.permit_listen], host, Some(*port))
            }
            // As with sshd: these lists are about ports.
            Asked::Listen(Address::Unix(_)) => return None,
        };
        lists.iter().find_map(|list| list.refusal(host, port))
    }

    /// Whether programs may use her ssh-agent; if not, the log tells why.
    pub(in crate::ssh) fn admits_ssh_agent(&self) -> bool {
        let allowed = self.context.config.allow_agent_forwarding;
        self.admits_for_programs(allowed, self.identity.permissions().agent_forwarding, "the ssh-agent")
    }

    /// Whether programs may use her display; if not, the log tells why.
    pub(in crate::ssh) fn admits_x11(&self) -> bool {
        let allowed = self.context.config.allow_x11_forwarding;
        self.admits_for_programs(allowed, self.identity.permissions().x11_forwarding, "the display")
    }

    fn admits_for_programs(&self, allowed: bool, permitted: bool, what: &str) -> bool {
        let admits = allowed && permitted;
        if !admits {
            info!(user = self.identity.user(), by = refused_by(allowed), "refused to forward {what}");
        }
        admits
    }
}

/// What says no, where the configuration does or does not.
fn refused_by(allowed_by_configuration: bool) -> &'static str {
    match allowed_by_configuration {
        true => "the user's object, or options of the key or certificate",
        false => "the configuration",
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, address) = match self {
            Self::Connect(address) => ("connect to", address),
            Self::Listen(address) => ("listen at", address),
        };
        let plain = |text: &str| text.chars().take(MAX_LOGGED).flat_map(char::escape_debug).collect::<String>();
        match address {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "{verb} [{}]:{port}", plain(host)),
            Address::Tcp { host, port } => write!(f, "{verb} {}:{port}", plain(host)),
            Address::Unix(path) => write!(f, "{verb} {}", plain(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_one_word_of_the_log() {
        let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
        assert_eq!(Asked::Connect(&tcp("gpu", 22)).to_string(), "connect to gpu:22");
        assert_eq!(Asked::Listen(&tcp("::1", 0)).to_string(), "listen at [::1]:0");
        assert_eq!(Asked::Connect(&Address::Unix("/a\nb".to_owned())).to_string(), "connect to /a\\nb");
        assert_eq!(Asked::Connect(&tcp(&"x".repeat(9999), 1)).to_string().len(), "connect to :1".len() + MAX_LOGGED);
    }
}
