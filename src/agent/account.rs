//! Whose pod it is: what passwd(5) tells of the user that the container runs as, or what stands in for it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::place::commands;

/// The container's user.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) home: PathBuf,
    /// None in an image without any.
    pub(super) shell: Option<PathBuf>,
}

/// Tried in turn where passwd names none that is there.
const SHELLS: [&str; 4] = ["/bin/bash", "/bin/sh", "/busybox/sh", "/usr/bin/sh"];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Account {
    /// The account that this process runs under.
    pub(super) fn own() -> Self {
        let passwd = passwd();
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::find(rustix::process::getuid().as_raw(), &passwd, &environment, &|path| path.exists())
    }

    /// The container's environment goes before passwd: its author set HOME for a reason.
    fn find(
        uid: u32,
        passwd: &str,
        environment: &dyn Fn(&str) -> Option<String>,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Self {
        let entry = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.len() >= 7 && fields[2].parse() == Ok(uid));
        let field = |n: usize| entry.as_ref().map(|fields| fields[n].to_owned()).filter(|field| !field.is_empty());
        let usable =
            |path: &String| !path.ends_with("/nologin") && !path.ends_with("/false") && exists(Path::new(path));
        let shells = [environment("SHELL"), field(6)].into_iter().flatten().chain(SHELLS.map(str::to_owned));
        Self {
            name: environment("USER").or(field(0)).unwrap_or_else(|| uid.to_string()),
            home: environment("HOME").or(field(5)).unwrap_or_else(|| "/".to_owned()).into(),
            shell: shells.into_iter().find(usable).map(PathBuf::from),
        }
    }

    /// What a login sets, beside the container's own environment.
    pub(super) fn variables(&self) -> HashMap<String, String> {
        let mut variables = HashMap::from([
            ("USER".to_owned(), self.name.clone()),
            ("LOGNAME".to_owned(), self.name.clone()),
            ("HOME".to_owned(), self.home.to_string_lossy().into_owned()),
        ]);
        if let Some(shell) = &self.shell {
            variables.insert("SHELL".to_owned(), shell.to_string_lossy().into_owned());
        }
        // Ours come last: an image's own go before.
        let path = std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into());
        let folders = std::iter::once(path).chain(commands().map(Into::into));
        let folders: Vec<String> = folders.map(|folder| folder.to_string_lossy().into_owned()).collect();
        variables.insert("PATH".to_owned(), folders.join(":"));
        variables
    }
}

/// The home of a user of the pod's.
pub(super) fn home_of(user: &str) -> Option<PathBuf> {
    let passwd = passwd();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    entry.filter(|fields| fields.len() >= 7 && fields[0] == user).map(|fields| fields[5].into()).next()
}

/// As text, whatever some names are written in.
fn passwd() -> String {
    String::from_utf8_lossy(&fs::read("/etc/passwd").unwrap_or_default()).into_owned()
}

/// Where programs begin: the home, if it is there and may be entered.
pub(super) fn folder(home: &Path) -> &Path {
    match access(home, Access::EXEC_OK) {
        Ok(()) if home.is_dir() => home,
        _ => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken line\ndev:x:1000:1000::/home/dev:/usr/sbin/nologin\n";

    fn find(uid: u32, variables: &[(&str, &str)], there: &[&str]) -> Account {
        let environment =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Account::find(uid, PASSWD, &environment, &|path| there.iter().any(|one| Path::new(one) == path))
    }

    fn account(name: &str, home: &str, shell: Option<&str>) -> Account {
        Account { name: name.into(), home: home.into(), shell: shell.map(PathBuf::from) }
    }

    #[test]
    fn passwd_tells_who_it_is() {
        assert_eq!(find(0, &[], &["/bin/bash"]), account("root", "/root", Some("/bin/bash")));
        assert_eq!(find(0, &[("HOME", "/work")], &["/bin/sh"]), account("root", "/work", Some("/bin/sh")));
    }

    #[test]
    fn a_shell_that_lets_nobody_in_is_none() {
        let there = ["/usr/sbin/nologin", "/bin/sh"];
        assert_eq!(find(1000, &[], &there), account("dev", "/home/dev", Some("/bin/sh")));
    }

    #[test]
    fn without_an_entry_there_are_defaults() {
        assert_eq!(find(4711, &[], &[]), account("4711", "/", None));
    }
}
