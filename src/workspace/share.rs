//! What a DevServer is to somebody: her own, shared with her to work in or to look at, or nothing that she knows of.

use super::{Attach, Command, Error, Program, Shells, Target, Workspace, Workspaces};
use crate::api::{DevServer, Phase, names};
use crate::cache::Cache;
use crate::identity::Identity;

/// What she may do in it; more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Look at its owner's shells.
    Viewer,
    /// All that its owner may.
    Guest,
    Owner,
}

/// A DevServer of somebody else's, as far as it is shared.
pub struct Shared {
    /// `NAME.OWNER`.
    pub name: String,
    pub owner: String,
    /// Whether she may only look at its shells.
    pub read_only: bool,
    pub phase: Phase,
}

/// Where a target leads for somebody.
pub(super) struct Place<'a> {
    user: &'a str,
    pub(super) owner: &'a str,
    pub(super) name: &'a str,
    pub(super) access: Access,
}

impl Place<'_> {
    /// As she names it.
    pub(super) fn called(&self) -> String {
        match self.access {
            Access::Owner => self.name.to_owned(),
            Access::Guest | Access::Viewer => format!("{}.{}", self.name, self.owner),
        }
    }

    /// What stands before its name where she is told of it.
    pub(super) fn whose(&self) -> &'static str {
        if self.access == Access::Owner { "your DevServer " } else { "" }
    }

    /// What of a message for its owner is for her: not what its owner can do.
    pub(super) fn told<'m>(&self, message: &'m str) -> &'m str {
        match self.access {
            Access::Owner => message,
            Access::Guest | Access::Viewer => message.split("; ").next().unwrap_or_default(),
        }
    }

    /// The workspace, entered by whom the cluster is to ask and to log.
    pub(super) fn entered(&self, workspace: Workspace) -> Workspace {
        match self.access {
            Access::Owner => workspace,
            // An account that nothing but the bastion can be: the operator gave it a right on this one pod.
            Access::Guest => {
                let service_account = Some(names::guest_account_username(self.owner, self.user));
                Workspace { service_account, ..workspace }
            }
            // An exec cannot be for looking only, so she gets no right to one: her owner's account brings her in, and
            // the request says for whom.
            Access::Viewer => Workspace { on_behalf_of: Some(self.user.to_owned()), ..workspace },
        }
    }

    /// Fails if she may not use the pod as she likes.
    pub(super) fn admit_work(&self) -> Result<Access, Error> {
        match self.access {
            Access::Viewer => Err(Error::ReadOnly { name: self.called() }),
            Access::Owner | Access::Guest => Ok(self.access),
        }
    }

    /// Fails if she was admitted with more `access` than she has by now: it is by what she has that she is brought in.
    pub(super) fn is_still(&self, access: Access) -> Result<(), Error> {
        match self.access < access {
            true => self.admit_work().map(drop),
            false => Ok(()),
        }
    }

    /// What of `command` she may run.
    pub(super) fn admit(&self, command: &Command) -> Result<Command, Error> {
        if self.access != Access::Viewer {
            return Ok(command.clone());
        }
        let Some(shells) = looking_only(&command.program) else {
            return self.admit_work().map(|_| command.clone());
        };
        let terminal = command.terminal.clone();
        let (program, environment) = (Program::Shells(shells), Vec::new());
        Ok(Command { program, terminal, environment, ssh_agent: false, x11: None, detached: None })
    }
}

impl Workspace {
    /// The same, entered by its owner's account; none if it is, or no account brings anybody in.
    pub(super) fn by_owner(&self) -> Option<Self> {
        let service_account = names::service_account_username(names::user_of(&self.namespace)?);
        let entered_by = self.service_account.as_ref()?;
        (service_account != *entered_by).then(|| Self { service_account: Some(service_account), ..self.clone() })
    }
}

/// The same with looking in place of typing.
fn looking_only(program: &Program) -> Option<Shells> {
    match program {
        Program::Shells(Shells::List(listing) | Shells::Look(listing)) => Some(Shells::Look(*listing)),
        Program::Shells(Shells::Attach { number, mode: Attach::Share | Attach::ReadOnly }) => {
            Some(Shells::Attach { number: *number, mode: Attach::ReadOnly })
        }
        Program::Shells(Shells::Attach { mode: Attach::TakeOver, .. })
        | Program::Shell
        | Program::Command(_)
        | Program::Sftp => None,
    }
}

/// A text of commands for the owner, for who reads it in a pod: there is no devctl there.
pub(super) fn from_inside(text: &str, owner: &str) -> String {
    text.replace("`devctl ", &format!("on your laptop `ssh {owner}@BASTION devctl "))
}

impl Workspaces {
    /// Where `target` leads. That a DevServer is not shared with her and that there is none is the same, in words and
    /// in time: neither asks the cluster.
    pub(super) fn place<'a>(&'a self, identity: &'a Identity, target: &'a Target) -> Result<Place<'a>, Error> {
        let user = identity.user();
        match target {
            Target::Shared { owner, name } => match access(&self.cache, user, owner, name) {
                Some(access) => Ok(Place { user, owner, name, access }),
                None => Err(self.no_such_devserver(user, target.to_string())),
            },
            own => Ok(Place { user, owner: user, name: self.name(own), access: Access::Owner }),
        }
    }

    pub(super) fn no_such_devserver(&self, user: &str, name: String) -> Error {
        Error::NoSuchDevServer { user: user.to_owned(), name, existing: self.cache.devservers_of(user) }
    }

    /// The DevServers of others that are shared with her, as the cache has them.
    pub fn shared_with(&self, identity: &Identity) -> Vec<Shared> {
        let servers = self.cache.devservers();
        let is_there = |server: &DevServer| server.metadata.deletion_timestamp.is_none();
        let shared = servers.iter().filter(|server| granted(server, identity.user()).is_some());
        let shared = shared.filter(|server| is_there(server));
        let named = shared.filter_map(|server| {
            let owner =
                names::user_of(server.metadata.namespace.as_deref()?).filter(|owner| *owner != identity.user())?;
            let name = server.metadata.name.as_deref()?;
            let read_only = access(&self.cache, identity.user(), owner, name)? == Access::Viewer;
            let phase = server.status.as_ref().map(|status| status.phase).unwrap_or_default();
            Some(Shared { name: format!("{name}.{owner}"), owner: owner.to_owned(), read_only, phase })
        });
        named.collect()
    }

    /// Waits until somebody else's place, where she was let in, is no longer shared with her, or only less of it; why,
    /// in a sentence for her. What counts is what she had when it was asked, not when it is first waited for.
    pub fn withdrawn<'a>(
        &'a self,
        identity: &'a Identity,
        target: &'a Target,
    ) -> impl Future<Output = String> + Send + use<'a> {
        let now = move || match target {
            Target::Shared { owner, name } => access(&self.cache, identity.user(), owner, name),
            Target::Default | Target::Named(_) => None,
        };
        let (mut changes, mut had) = (self.cache.changes(), now());
        async move {
            if !matches!(target, Target::Shared { .. }) {
                std::future::pending::<()>().await;
            }
            loop {
                let has = now();
                if has < had {
                    return format!("your access to {target} was reduced or withdrawn");
                }
                had = has;
                if changes.changed().await.is_err() {
                    // The watches end with a shutdown, which ends connections by itself.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

fn access(cache: &Cache, user: &str, owner: &str, name: &str) -> Option<Access> {
    // Who may not come in herself shares nothing.
    cache.user(owner).filter(|owner| !owner.spec.disabled)?;
    granted(&*cache.devserver(owner, name)?, user)
}

/// What its owner grants `user`.
fn granted(server: &DevServer, user: &str) -> Option<Access> {
    let shares = server.spec.share.iter().filter(|share| share.user == user);
    // Where the schema was not looked at, one may be there twice.
    shares.map(|share| if share.read_only { Access::Viewer } else { Access::Guest }).min_by_key(|access| *access)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::agent::request::Listing;
    use crate::api::{DevServerSpec, Share};
    use crate::workspace::{Terminal, TerminalSize};

    pub(in crate::workspace) fn place(access: Access) -> Place<'static> {
        Place { user: "bob", owner: "alice", name: "dev", access }
    }

    fn command(program: Program) -> Command {
        let terminal = Terminal { term: "xterm".into(), size: TerminalSize { columns: 80, rows: 24 }, modes: vec![] };
        let environment = vec![("LANG".to_owned(), "C".to_owned())];
        Command { program, terminal: Some(terminal), environment, ssh_agent: true, x11: None, detached: None }
    }

    #[test]
    fn guests_are_told_of_whose_it_is_and_not_what_its_owner_can_do() {
        let message = "there is no flavor x; `devctl update dev --flavor NAME` takes another";
        let owners = place(Access::Owner);
        assert_eq!((owners.called().as_str(), owners.told(message)), ("dev", message));
        for access in [Access::Guest, Access::Viewer] {
            let place = place(access);
            assert_eq!((place.called().as_str(), place.told(message)), ("dev.alice", "there is no flavor x"));
        }
    }

    #[test]
    fn what_she_was_admitted_for_is_not_done_once_she_may_only_look() {
        assert!(matches!(place(Access::Viewer).is_still(Access::Guest), Err(Error::ReadOnly { .. })));
        assert!(place(Access::Viewer).is_still(Access::Viewer).is_ok());
        assert!(place(Access::Guest).is_still(Access::Viewer).is_ok());
        assert!(place(Access::Guest).is_still(Access::Guest).is_ok());
    }

    #[test]
    fn a_share_is_for_whom_it_names() {
        let share = |user: &str, read_only| Share { user: user.to_owned(), read_only };
        let mut spec = DevServerSpec { share: vec![share("bob", false), share("carol", true)], ..Default::default() };
        let granted_now = |spec: &DevServerSpec, user| granted(&DevServer::new("dev", spec.clone()), user);
        assert_eq!(granted_now(&spec, "bob"), Some(Access::Guest));
        assert_eq!(granted_now(&spec, "carol"), Some(Access::Viewer));
        for stranger in ["dave", "bo", "", "bob "] {
            assert_eq!(granted_now(&spec, stranger), None, "{stranger}");
        }
        spec.share.push(share("bob", true));
        assert_eq!(granted_now(&spec, "bob"), Some(Access::Viewer), "in doubt the less");
    }

    #[test]
    fn who_may_only_look_runs_nothing() {
        let viewer = place(Access::Viewer);
        let nothing = [
            Program::Shell,
            Program::Command("id".into()),
            Program::Sftp,
            Program::Shells(Shells::Attach { number: 1, mode: Attach::TakeOver }),
        ];
        for program in nothing {
            assert!(matches!(viewer.admit(&command(program)), Err(Error::ReadOnly { name }) if name == "dev.alice"));
        }
        assert!(viewer.admit_work().is_err() && place(Access::Guest).admit_work().is_ok());
        let admitted = |program| viewer.admit(&command(Program::Shells(program))).unwrap();
        let listed = admitted(Shells::List(Listing::Table));
        assert!(matches!(listed.program, Program::Shells(Shells::Look(Listing::Table))));
        assert!(!listed.ssh_agent && listed.environment.is_empty());
        let attached = admitted(Shells::Attach { number: 3, mode: Attach::Share });
        let looks = Shells::Attach { number: 3, mode: Attach::ReadOnly };
        assert!(matches!(attached.program, Program::Shells(shells) if shells == looks));
    }

    #[test]
    fn the_cluster_sees_who_it_is() {
        let workspace = Workspace {
            namespace: "dev-alice".into(),
            devserver: "dev".into(),
            pod: "dev".into(),
            pod_uid: None,
            service_account: Some(names::service_account_username("alice")),
            on_behalf_of: None,
            agent: true,
        };
        assert_eq!(place(Access::Owner).entered(workspace.clone()), workspace);
        let guest = place(Access::Guest).entered(workspace.clone());
        assert_eq!(guest.service_account.as_deref(), Some("system:serviceaccount:dev-alice:guest.bob"));
        assert_eq!((guest.by_owner(), workspace.by_owner()), (Some(workspace.clone()), None));
        let viewer = place(Access::Viewer).entered(workspace);
        assert_eq!(viewer.service_account.as_deref(), Some("system:serviceaccount:dev-alice:alice"));
        assert_eq!(viewer.on_behalf_of.as_deref(), Some("bob"));
    }
}
