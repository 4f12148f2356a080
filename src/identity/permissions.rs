//! What somebody who logged in may do.

use super::{Permits, Refusal, Way};
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
    /// Whether sockets in the file system may be, too.
    pub stream_local_forwarding: bool,
    /// Where she may connect to (`permitopen`), and have her pods listen (`permitlisten`).
    pub permit_open: Permits,
    pub permit_listen: Permits,
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
        stream_local_forwarding: true,
        permit_open: Permits::ANY,
        permit_listen: Permits::ANY,
        agent_forwarding: true,
        x11_forwarding: true,
        persistent_shells: true,
    };
    /// All that `restrict` takes away.
    pub(super) const RESTRICTED: Self = Self {
        forced_command: None,
        pty: false,
        port_forwarding: false,
        stream_local_forwarding: true,
        permit_open: Permits::ANY,
        permit_listen: Permits::ANY,
        agent_forwarding: false,
        x11_forwarding: false,
        persistent_shells: true,
    };

    /// Takes away all that `restrict` does; what else is said goes on to hold.
    pub(super) fn restrict(&mut self) {
        let Self { pty, port_forwarding, agent_forwarding, x11_forwarding, .. } = Self::RESTRICTED;
        (self.pty, self.port_forwarding) = (pty, port_forwarding);
        (self.agent_forwarding, self.x11_forwarding) = (agent_forwarding, x11_forwarding);
    }

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
            stream_local_forwarding: self.stream_local_forwarding && other.stream_local_forwarding,
            permit_open: self.permit_open.and(other.permit_open),
            permit_listen: self.permit_listen.and(other.permit_listen),
            agent_forwarding: self.agent_forwarding && other.agent_forwarding,
            x11_forwarding: self.x11_forwarding && other.x11_forwarding,
            persistent_shells: self.persistent_shells && other.persistent_shells,
        })
    }
}

impl TryFrom<SshPolicy> for Permissions {
    type Error = Refusal;

    fn try_from(policy: SshPolicy) -> Result<Self, Refusal> {
        let SshPolicy {
            port_forwarding,
            stream_local_forwarding,
            permit_open,
            permit_listen,
            agent_forwarding,
            x11_forwarding,
            persistent_shells,
        } = policy;
        let permits = |way, by, list: Option<Vec<String>>| {
            list.map_or(Ok(Permits::ANY), |list| Permits::parse(way, by, &list)).map_err(Refusal::Policy)
        };
        Ok(Self {
            forced_command: None,
            pty: true,
            port_forwarding,
            stream_local_forwarding,
            permit_open: permits(Way::Open, "the user's object (spec.ssh.permitOpen)", permit_open)?,
            permit_listen: permits(Way::Listen, "the user's object (spec.ssh.permitListen)", permit_listen)?,
            agent_forwarding,
            x11_forwarding,
            persistent_shells,
        })
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
    #[test]
    fn an_object_that_cannot_be_honoured_permits_nothing() {
        let policy = |list: &[&str]| SshPolicy {
            permit_open: Some(list.iter().map(|word| (*word).to_owned()).collect()),
            ..SshPolicy::default()
        };
        assert_eq!(Permissions::try_from(SshPolicy::default()).unwrap(), Permissions::ALL);
        assert_eq!(Permissions::try_from(policy(&["any"])).unwrap(), Permissions::ALL);
        let permissions = Permissions::try_from(policy(&["localhost:80"])).unwrap();
        assert_eq!(permissions.permit_open.refusal("localhost", Some(80)), None);
        assert_eq!(permissions.permit_listen.refusal("localhost", Some(0)), None);
        for list in [&[][..], &["localhost"], &["localhost:80", "any"]] {
            assert!(matches!(Permissions::try_from(policy(list)), Err(Refusal::Policy(_))), "{list:?}");
        }
    }
}
