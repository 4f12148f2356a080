//! What a client means by the hosts and ports that it asks for: her DevServers are hosts too.

use crate::api::names;
use crate::workspace::{Address, Target};

/// Where sshd would listen.
pub(super) const SSH: u16 = 22;
/// What follows a DevServer's name on laptops that `devctl config ssh enable` has set up.
pub(super) const DOMAIN: &str = ".dev";

/// What a client means by a host and a port.
pub(super) enum Destination {
    /// The server of a DevServer of hers, which the client calls by a name.
    Server(Target),
    /// Anything else, as seen from the pod of a DevServer.
    Address(Target, Address),
}

impl Destination {
    /// `here` is the DevServer that she is logged in to; `is_hers` tells others, those included that are shared with
    /// her.
    pub(super) fn of(host: &str, port: u16, user: &str, here: &Target, is_hers: impl Fn(&Target) -> bool) -> Self {
        let local = |target| Self::Address(target, Address::Tcp { host: "localhost".to_owned(), port });
        let own = host.strip_suffix(user).and_then(|rest| rest.strip_suffix('.'));
        // `.dev` is a domain of the Internet too: by itself it means DevServers that are there.
        let laptop = own.unwrap_or(host).strip_suffix(DOMAIN).map(|name| Target::Named(name.to_owned()));
        let laptop = laptop.filter(|target| own.is_some() || is_hers(target));
        let target =
            laptop.unwrap_or_else(|| own.map_or_else(|| Target::named(host), |name| Target::Named(name.to_owned())));
        let asked = match host {
            "localhost" | "127.0.0.1" | "::1" => here,
            _ => &target,
        };
        match host {
            // No DevServer has such a name, and a certificate for one might be good for others, as "*" would be.
            _ if !is_nameable(asked) => Self::Address(here.clone(), Address::Tcp { host: host.to_owned(), port }),
            "localhost" | "127.0.0.1" | "::1" if port == SSH => Self::Server(here.clone()),
            _ if is_hers(&target) && port == SSH => Self::Server(target),
            // Whoever shares a DevServer with her, asked or not, chose its name: a service of that name is what she
            // means.
            _ if is_hers(&target) && !matches!(target, Target::Shared { .. }) => local(target),
            // No host has such a name: let her read which DevServers she has.
            _ if port == SSH && (own.is_some() || !host.contains(['.', ':'])) => Self::Server(target),
            _ => Self::Address(here.clone(), Address::Tcp { host: host.to_owned(), port }),
        }
    }
}

/// Whether a DevServer may have that name.
fn is_nameable(target: &Target) -> bool {
    match target {
        Target::Default => true,
        Target::Named(name) => names::is_devserver_name(name),
        Target::Shared { owner, name } => names::is_devserver_name(name) && names::is_user_name(owner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What alice, logged in to her DevServer `here`, means; she also has `gpu`, and carol shares `lab`.
    fn meant(host: &str, port: u16) -> String {
        let here = Target::Named("here".to_owned());
        let is_hers = |target: &Target| ["here", "gpu", "lab.carol"].contains(&target.to_string().as_str());
        match Destination::of(host, port, "alice", &here, is_hers) {
            Destination::Server(target) => format!("server of {target}"),
            Destination::Address(target, Address::Tcp { host, port }) => format!("{host}:{port} from {target}"),
            Destination::Address(..) => "something else".to_owned(),
        }
    }

    #[test]
    fn what_is_shared_with_her_is_a_host_by_its_owners_name() {
        assert_eq!(meant("lab.carol", 22), "server of lab.carol");
        assert_eq!(meant("lab.carol", 8888), "lab.carol:8888 from here", "a service of carol's, as far as she knows");
        assert_eq!(meant("lab", 22), "server of lab", "hers, if she had one");
        assert_eq!(meant("dev.carol", 22), "dev.carol:22 from here", "a host like any other");
    }

    #[test]
    fn her_devservers_are_hosts() {
        assert_eq!(meant("gpu", 22), "server of gpu");
        assert_eq!(meant("gpu.alice", 22), "server of gpu");
        assert_eq!(meant("localhost", 22), "server of here");
        assert_eq!(meant("nope", 22), "server of nope", "where she reads which she has");
        assert_eq!(meant("gpu", 8888), "localhost:8888 from gpu");
        assert_eq!(meant("gpu.alice", 8888), "localhost:8888 from gpu");
    }

    #[test]
    fn what_no_devserver_can_be_called_is_none() {
        assert_eq!(meant("*", 22), "*:22 from here");
        assert_eq!(meant("a*.alice", 22), "a*.alice:22 from here");
        assert_eq!(meant("*.dev.alice", 22), "*.dev.alice:22 from here");
        assert_eq!(meant(&"a".repeat(59), 22), format!("{}:22 from here", "a".repeat(59)));
    }

    #[test]
    fn a_laptops_names_for_them_are_understood() {
        assert_eq!(meant("gpu.dev", 22), "server of gpu");
        assert_eq!(meant("gpu.dev.alice", 22), "server of gpu");
        assert_eq!(meant("gpu.dev.alice", 8888), "localhost:8888 from gpu");
        assert_eq!(meant("nope.dev.alice", 22), "server of nope", "where she reads which she has");
        assert_eq!(meant("nope.dev", 22), "nope.dev:22 from here", "which may be a host of the Internet");
    }

    #[test]
    fn the_rest_is_as_her_pod_sees_it() {
        assert_eq!(meant("localhost", 8888), "localhost:8888 from here");
        assert_eq!(meant("nope", 8888), "nope:8888 from here");
        assert_eq!(meant("git.example.org", 22), "git.example.org:22 from here");
        assert_eq!(meant("gpu.bob", 22), "gpu.bob:22 from here");
        assert_eq!(meant("10.0.0.1", 22), "10.0.0.1:22 from here");
        assert_eq!(meant("2001:db8::1", 22), "2001:db8::1:22 from here");
    }
}
