//! `~/.ssh/config` and the system's: what ssh_config(5) says of the bastion, as far as devctl needs it.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::pattern::{any_matches, matches};
use super::places::{self, Places};

/// What applies to one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostConfig {
    pub(super) host_name: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) host_key_alias: Option<String>,
    /// In the order in which they are tried.
    pub(super) identity_files: Vec<String>,
    pub(super) certificate_files: Vec<String>,
    pub(super) identity_agent: Option<String>,
    pub(super) identities_only: Option<bool>,
    pub(super) user_known_hosts_files: Option<Vec<String>>,
    pub(super) global_known_hosts_files: Option<Vec<String>>,
    pub(super) proxy_command: Option<String>,
    pub(super) proxy_jump: Option<String>,
}

const SYSTEM_FOLDER: &str = "/etc/ssh";
/// As ssh_config(5) has it.
const MAX_DEPTH: usize = 16;

impl HostConfig {
    /// What the files say of `host`, which is as the person typed it, for a login as `user` if she gave a name.
    pub(super) fn load(places: &Places, host: &str, user: Option<&str>) -> Result<Self, Failure> {
        let mut reader = Reader { places, host, user, config: Self::default() };
        let files = [(places.ssh(), "config"), (SYSTEM_FOLDER.into(), "ssh_config")];
        for (folder, name) in files {
            reader.file(&folder.join(name), &folder, true, 0)?;
        }
        Ok(reader.config)
    }
}

struct Reader<'a> {
    places: &'a Places,
    host: &'a str,
    user: Option<&'a str>,
    config: HostConfig,
}

impl Reader<'_> {
    /// Reads a file whose first lines are for this host if `active`.
    fn file(&mut self, path: &Path, folder: &Path, mut active: bool, depth: usize) -> Result<(), Failure> {
        let Some(text) = places::read(path)? else { return Ok(()) };
        for (number, line) in text.lines().enumerate() {
            let Some((keyword, rest)) = split(line) else { continue };
            let arguments = arguments(rest);
            let wrong = |why: &str| Failure::new(format!("{} line {}: {why}", path.display(), number + 1));
            match keyword.as_str() {
                "host" => active = any_matches(arguments.iter().map(String::as_str), self.host),
                "match" => active = self.applies(&arguments),
                "include" if active => {
                    if depth >= MAX_DEPTH {
                        return Err(wrong("too many files include each other"));
                    }
                    for file in arguments.iter().flat_map(|file| glob(&folder.join(self.places.expand(file)))) {
                        self.file(&file, folder, true, depth + 1)?;
                    }
                }
                _ if active => self.set(&keyword, rest, arguments).map_err(|why| wrong(&why))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a `Match` is for this host. What would have to run a program, or belongs to a second reading, is not.
    fn applies(&self, criteria: &[String]) -> bool {
        let mut words = criteria.iter();
        while let Some(word) = words.next() {
            let (negated, criterion) = match word.strip_prefix('!') {
                Some(rest) => (true, rest.to_lowercase()),
                None => (false, word.to_lowercase()),
            };
            if criterion == "all" {
                continue;
            }
            let Some(patterns) = words.next() else { return false };
            let text = match criterion.as_str() {
                "host" => Some(self.config.host_name.as_deref().unwrap_or(self.host).to_owned()),
                "originalhost" => Some(self.host.to_owned()),
                "user" => self.user.map(str::to_owned).or_else(|| self.config.user.clone()).or_else(local_user),
                "localuser" => local_user(),
                _ => return false,
            };
            let matched = text.is_some_and(|text| any_matches(patterns.split(','), &text));
            if matched == negated {
                return false;
            }
        }
        true
    }

    /// The first value that is found holds; keys and certificates add up. `rest` is the line behind the keyword.
    fn set(&mut self, keyword: &str, rest: &str, arguments: Vec<String>) -> Result<(), String> {
        let config = &mut self.config;
        let first = arguments.first().cloned().ok_or_else(|| format!("{keyword} has no value"))?;
        match keyword {
            "hostname" => set(&mut config.host_name, first.replace("%h", self.host).replace("%%", "%")),
            "port" => set(&mut config.port, first.parse().map_err(|_| format!("no port: `{first}`"))?),
            "user" => set(&mut config.user, first),
            "hostkeyalias" => set(&mut config.host_key_alias, first),
            "identityfile" => config.identity_files.push(first),
            "certificatefile" => config.certificate_files.push(first),
            "identityagent" => set(&mut config.identity_agent, first),
            "identitiesonly" => set(&mut config.identities_only, first.eq_ignore_ascii_case("yes")),
            "userknownhostsfile" => set(&mut config.user_known_hosts_files, arguments),
            "globalknownhostsfile" => set(&mut config.global_known_hosts_files, arguments),
            // ssh_config(5): whichever comes first; the other is not looked at any more.
            // A shell takes the command apart, quotes and all.
            "proxycommand" if config.proxy_jump.is_none() => set(&mut config.proxy_command, rest.to_owned()),
            "proxyjump" if config.proxy_command.is_none() => set(&mut config.proxy_jump, first),
            _ => {}
        }
        Ok(())
    }
}

fn set<T>(value: &mut Option<T>, new: T) {
    value.get_or_insert(new);
}

/// Who sits at this machine.
pub(super) fn local_user() -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty())
}

/// The keyword, in lower case, and what stands behind it. None: nothing is on the line.
pub(super) fn split(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Some((keyword.to_lowercase(), rest.trim_start()))
}

/// Words, which may be in quotes.
pub(super) fn arguments(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            break;
        }
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// The files that `pattern` names, in order.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let inside = |folder: &PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let hidden = |entry: &str| entry.starts_with('.') && !name.starts_with('.');
            let mut names: Vec<_> = names.filter(|entry| !hidden(entry) && matches(&name, entry)).collect();
            names.sort();
            names.into_iter().map(|entry| folder.join(entry)).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(inside).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `files` of `~/.ssh` say of `host`.
    fn loaded(host: &str, user: Option<&str>, files: &[(&str, &str)]) -> Result<HostConfig, String> {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = home.path().join(".ssh").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let places = Places::new(home.path().into(), home.path().join(".config"));
        HostConfig::load(&places, host, user).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_first_value_holds_and_keys_add_up() {
        let text = "# a comment\nHost bastion other\n  HostName = bastion.example.org\n  Port 2222\n\
                    IdentityFile \"~/my keys/one\"\nHost *\n  Port 22\n\tUser alice\n IdentityFile ~/two\n\
                    IdentitiesOnly yes\nUserKnownHostsFile ~/a ~/b\n";
        let config = loaded("bastion", None, &[("config", text)]).unwrap();
        assert_eq!(config.host_name.as_deref(), Some("bastion.example.org"));
        assert_eq!((config.port, config.user.as_deref()), (Some(2222), Some("alice")));
        assert_eq!(config.identity_files, ["~/my keys/one", "~/two"]);
        assert_eq!(config.identities_only, Some(true));
        assert_eq!(config.user_known_hosts_files.unwrap(), ["~/a", "~/b"]);
        let config = loaded("elsewhere", None, &[("config", text)]).unwrap();
        assert_eq!((config.host_name, config.port), (None, Some(22)));
    }

    #[test]
    fn files_are_included_where_they_apply() {
        let files = [
            ("config", "Include config.d/*.conf\nHost b*\nInclude inner\nHost z\nInclude not\n"),
            ("config.d/2.conf", "Port 2\n"),
            ("config.d/1.conf", "Host none\nPort 7\nHost bastion\nPort 1\n"),
            ("config.d/3.conf~", "Port 3\nUser nobody\n"),
            ("inner", "User inner\n"),
            ("not", "HostName not\n"),
        ];
        let config = loaded("bastion", None, &files).unwrap();
        assert_eq!((config.port, config.user.as_deref(), config.host_name), (Some(1), Some("inner"), None));
        let looped = loaded("bastion", None, &[("config", "Include config\n")]).unwrap_err();
        assert!(looped.contains("config line 1"), "{looped}");
    }

    #[test]
    fn matches_are_judged_by_what_is_known() {
        let text = "Match host bastion user bob\nPort 1\nMatch exec true\nPort 2\nMatch !originalhost bastion\nPort 3\n\
                    Match all\nPort 4\n";
        assert_eq!(loaded("bastion", Some("bob"), &[("config", text)]).unwrap().port, Some(1));
        assert_eq!(loaded("bastion", Some("alice"), &[("config", text)]).unwrap().port, Some(4));
        assert_eq!(loaded("other", Some("alice"), &[("config", text)]).unwrap().port, Some(3));
    }

    #[test]
    fn a_proxys_command_is_as_it_was_written() {
        let command = "sh -c \"aws ssm start-session --target %h  --parameters 'portNumber=%p'\" # all of it";
        for line in [format!("ProxyCommand {command}\n"), format!("\tproxycommand =  {command}  \n")] {
            let config = loaded("bastion", None, &[("config", &line)]).unwrap();
            assert_eq!(config.proxy_command.as_deref(), Some(command));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let wrong = loaded("bastion", None, &[("config", "\nPort many\n")]).unwrap_err();
        assert!(wrong.contains("config line 2") && wrong.contains("many"), "{wrong}");
    }
}
