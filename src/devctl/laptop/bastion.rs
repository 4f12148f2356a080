//! The bastion that devctl speaks to: what she typed at login, and what `~/.ssh/config` makes of it.

use std::path::PathBuf;

use super::destination::Destination;
use super::failure::Failure;
use super::known_hosts::{self, KnownHosts};
use super::places::Places;
use super::settings::Settings;
use super::ssh_config::{HostConfig, local_user};

#[derive(Clone, Debug)]
pub(super) struct Bastion {
    pub(super) places: Places,
    /// As OpenSSH's client would be told.
    pub(super) destination: Destination,
    pub(super) login: String,
    /// Where to connect to.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) config: HostConfig,
    pub(super) identity: Option<PathBuf>,
    /// Nobody is to be asked or told anything.
    pub(super) quiet: bool,
}

const SSH: u16 = 22;

impl Bastion {
    /// The one that she logged in to.
    pub(super) fn of(settings: &Settings, places: &Places) -> Result<Self, Failure> {
        Self::resolve(settings.destination(), settings.identity.clone(), places)
    }

    pub(super) fn resolve(
        destination: Destination,
        identity: Option<PathBuf>,
        places: &Places,
    ) -> Result<Self, Failure> {
        let config = HostConfig::load(places, &destination.host, destination.user.as_deref())?;
        let login = destination.user.clone().or_else(|| config.user.clone()).or_else(local_user);
        let login = login.ok_or_else(|| {
            Failure::new("no user name is known: neither given, nor in ~/.ssh/config, nor in USER")
                .cure(format!("`devctl login USER@{}`", destination.host))
        })?;
        let host = config.host_name.clone().unwrap_or_else(|| destination.host.clone());
        let port = destination.port.or(config.port).unwrap_or(SSH);
        Ok(Self { places: places.clone(), destination, login, host, port, config, identity, quiet: false })
    }

    /// By what name and port known_hosts files know it.
    pub(super) fn known_as(&self) -> (&str, u16) {
        match &self.config.host_key_alias {
            Some(alias) => (alias, SSH),
            None => (&self.host, self.port),
        }
    }

    pub(super) fn known_name(&self) -> String {
        let (host, port) = self.known_as();
        known_hosts::name(host, port)
    }

    pub(super) fn known_hosts(&self) -> Result<KnownHosts, Failure> {
        let (host, port) = self.known_as();
        let files = [self.user_known_hosts_files(), self.global_known_hosts_files()].concat();
        KnownHosts::load(&files, host, port)
    }

    /// Where a new host key is written to.
    pub(super) fn learning_file(&self) -> PathBuf {
        self.user_known_hosts_files().into_iter().next().unwrap_or_else(|| self.places.ssh().join("known_hosts"))
    }

    fn user_known_hosts_files(&self) -> Vec<PathBuf> {
        let usual = || ["known_hosts", "known_hosts2"].map(|name| self.places.ssh().join(name)).to_vec();
        self.config.user_known_hosts_files.as_ref().map_or_else(usual, |files| self.paths(files))
    }

    fn global_known_hosts_files(&self) -> Vec<PathBuf> {
        let usual = || ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from).to_vec();
        self.config.global_known_hosts_files.as_ref().map_or_else(usual, |files| self.paths(files))
    }

    fn paths(&self, files: &[String]) -> Vec<PathBuf> {
        files.iter().filter(|file| *file != "none").map(|file| self.path(file)).collect()
    }

    /// A path as OpenSSH's files have it, with `~`, tokens, and variables as `${NAME}`.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.places.expand(&variables(&self.fill(text), |name| std::env::var(name).ok()))
    }

    /// Fills in the tokens of ssh_config(5).
    pub(super) fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                filled.push(c);
                continue;
            }
            match rest.next() {
                Some('h') => filled.push_str(&self.host),
                Some('p') => filled.push_str(&self.port.to_string()),
                Some('r') => filled.push_str(&self.login),
                Some('n') => filled.push_str(&self.destination.host),
                Some('k') => filled.push_str(self.known_as().0),
                Some('i') => filled.push_str(&rustix::process::getuid().as_raw().to_string()),
                Some('u') => filled.push_str(&local_user().unwrap_or_default()),
                Some('d') => filled.push_str(&self.places.home.display().to_string()),
                Some('%') => filled.push('%'),
                other => filled.extend(['%'].into_iter().chain(other)),
            }
        }
        filled
    }

    /// What a person calls it.
    pub(super) fn display(&self) -> String {
        match self.port {
            SSH => self.host.clone(),
            port => known_hosts::name(&self.host, port),
        }
    }

    /// `USER@HOST[:PORT]`, for `devctl login`.
    pub(super) fn login_argument(&self) -> String {
        Destination { user: Some(self.login.clone()), ..self.destination.clone() }.to_string()
    }
}

/// With the values of `${NAME}`; what has none stays as it is.
fn variables(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        match after.split_once('}').and_then(|(name, behind)| Some((value(name)?, behind))) {
            Some((value, behind)) => {
                filled.push_str(&value);
                rest = behind;
            }
            None => {
                filled.push_str("${");
                rest = after;
            }
        }
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_config_fills_in_what_was_not_typed() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::new(home.path().into(), home.path().join(".config"));
        std::fs::create_dir(places.ssh()).unwrap();
        let text = "Host front\nHostName bastion.example.org\nPort 2222\nUser alice\nUserKnownHostsFile ~/%h-%%\n";
        std::fs::write(places.ssh().join("config"), text).unwrap();
        let bastion = |text: &str| Bastion::resolve(text.parse().unwrap(), None, &places).unwrap();
        let front = bastion("front");
        assert_eq!((front.login.as_str(), front.host.as_str(), front.port), ("alice", "bastion.example.org", 2222));
        assert_eq!(front.known_name(), "[bastion.example.org]:2222");
        assert_eq!(front.learning_file(), home.path().join("bastion.example.org-%"));
        let typed = bastion("bob@front:22");
        assert_eq!((typed.login.as_str(), typed.port, typed.display().as_str()), ("bob", 22, "bastion.example.org"));
        assert_eq!(typed.login_argument(), "bob@front:22");
        let keys = home.path().join("keys/bastion.org");
        assert_eq!(bastion("bob@bastion.org").path("%d/keys/%h"), keys);
        assert_eq!(bastion("bob@bastion.org").path("~/keys/%n"), keys);
    }

    #[test]
    fn variables_are_filled_in_where_they_are_set() {
        let value = |name: &str| (name == "KEYS").then(|| "/keys".to_owned());
        assert_eq!(variables("${KEYS}/a/${KEYS}", value), "/keys/a//keys");
        assert_eq!(variables("${NO}/${KEYS}${", value), "${NO}//keys${");
        assert_eq!(variables("plain$", value), "plain$");
    }
}
