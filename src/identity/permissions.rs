//! What somebody who logged in may do.

use super::Refusal;
use crate::api::user::SshPolicy;

/// What the user's object and her key's options or her certificate leave to her.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Runs in place of whatever the client asks for (`command`, `force-command`).
    pub forced_command: Option<String>,
    /// Whether she may have a terminal (`pty`, `permit-pty`).
    pub pty: bool,
    /// Whether connections may be forwarded, either way (`port-forwarding`, `permit-port-forwarding`).
    pub port_forwarding: bool,
    /// Whether programs may use her ssh-agent (`agent-forwarding`, `permit-agent-forwarding`).
    pub agent_forwarding: bool,
    /// Whether programs may use her display (`x11-forwarding`, `permit-X11-forwarding`).
    pub x11_forwarding: bool,
    /// Whether shells outlive their connections.
    pub persistent_shells: bool,
}

impl Permissions {
    /// All that there is.
    pub(crate) const ALL: Self = Self {
        forced_command: None,
        pty: true,
        port_forwarding: true,
        agent_forwarding: true,
        x11_forwarding: true,
        persistent_shells: true,
    };
    /// All that `restrict` takes away.
    pub(super) const RESTRICTED: Self =
        Self { pty: false, port_forwarding: false, agent_forwarding: false, x11_forwarding: false, ..Self::ALL };

    /// What both allow.
    pub(super) fn and(self, other: Self) -> Result<Self, Refusal> {
        let forced_command = match (self.forced_command, other.forced_command) {
            (Some(one), Some(other)) if one != other => return Err(Refusal::ForcedCommandsDiffer),
            (one, other) => one.or(other),
        };
        Ok(Self {
            forced_command,
            pty: self.pty && other.pty,
            port_forwarding: self.port_forwarding && other.port_forwarding,
            agent_forwarding: self.agent_forwarding && other.agent_forwarding,
            x11_forwarding: self.x11_forwarding && other.x11_forwarding,
            persistent_shells: self.persistent_shells && other.persistent_shells,
        })
    }
}

impl From<SshPolicy> for Permissions {
    fn from(policy: SshPolicy) -> Self {
        let SshPolicy { port_forwarding, agent_forwarding, x11_forwarding, persistent_shells } = policy;
        Self { port_forwarding, agent_forwarding, x11_forwarding, persistent_shells, ..Self::ALL }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_to_allow() {
        let forced = |command: &str| Permissions { forced_command: Some(command.into()), ..Permissions::ALL };
        let no_pty = Permissions { pty: false, ..Permissions::ALL };
        assert_eq!(forced("date").and(no_pty.clone()).unwrap(), Permissions { pty: false, ..forced("date") });
        assert_eq!(Permissions::ALL.and(Permissions::RESTRICTED).unwrap(), Permissions::RESTRICTED);
        assert_eq!(forced("date").and(forced("date")).unwrap(), forced("date"));
        assert!(matches!(forced("date").and(forced("id")), Err(Refusal::ForcedCommandsDiffer)));
        assert_eq!(Permissions::ALL.and(no_pty.clone()).unwrap(), no_pty);
    }
}
