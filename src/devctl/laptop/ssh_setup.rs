//! `devctl config ssh`: has OpenSSH, and all that build on it, find DevServers as `NAME.dev`.
//!
//! What OpenSSH is told is in files of devctl's own. Of hers, `~/.ssh/config` gets one line, and is as it was without
//! it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::authority::Authority;
use super::bastion::Bastion;
use super::connection;
use super::failure::Failure;
use super::host_key::Unknown;
use super::places::{self, Places};
use super::settings::Settings;
use super::{print, ssh_config, terminal};

/// In devctl's file where `~/.ssh/config` was not there before.
const MADE: &str = "# devctl made ~/.ssh/config, too.\n";

pub(super) async fn enable(places: Places, yes: bool) -> Result<u8, Failure> {
    let settings = Settings::load(&places)?;
    let bastion = Bastion::of(&settings, &places)?;
    let connection = connection::open(&bastion, Unknown::Refuse).await?;
    let authority = Authority::ask(&connection).await?;
    let config = places.ssh().join("config");
    if !yes && !is_enabled(&places)? {
        let question = format!(
            "`ssh NAME.dev` will lead to your DevServers by {}.\nWrites {} and {}, and one line at the top of {}.\n\
             `devctl config ssh disable` takes all of it away again. Go on? [yes/no] ",
            bastion.display(),
            places.shorten(&places.ssh_config()),
            places.shorten(&places.known_hosts()),
            places.shorten(&config),
        );
        let no_terminal =
            Failure::new("there is no terminal to ask on").cure("`devctl config ssh enable --yes` does not ask");
        let answer = terminal::ask(&question).await.map_err(|why| why.failure(no_terminal))?;
        if !["y", "yes"].contains(&answer.trim()) {
            return Err(Failure::new("nothing was changed"));
        }
    }
    lead_to(&bastion, &authority, &places)?;
    let devserver = &authority.devserver;
    print(&format!(
        "`ssh {devserver}.dev` leads to your DevServer {devserver}, as do scp, rsync and your editor\n\
         `devctl config ssh disable` takes it away again\n"
    ))
}

/// Has `ssh NAME.dev` go by this bastion.
pub(super) fn lead_to(bastion: &Bastion, authority: &Authority, places: &Places) -> Result<(), Failure> {
    let config = places.ssh().join("config");
    let made = match (places::read(&config)?, places::read(&places.ssh_config())?) {
        (None, _) => true,
        (Some(_), Some(before)) => before.contains(MADE),
        (Some(_), None) => false,
    };
    places::replace(&places.known_hosts(), format!("{}\n", authority.known_hosts_line()?).as_bytes())?;
    places::replace(&places.ssh_config(), ssh_config(bastion, authority, places, made)?.as_bytes())?;
    include(&config, places)
}

/// By which other bastion, or as whom else, `ssh NAME.dev` goes; none if it is as `devctl login` has it.
pub(super) fn leads_elsewhere(bastion: &Bastion, places: &Places) -> Result<Option<String>, Failure> {
    let text = places::read(&places.ssh_config())?.unwrap_or_default();
    let jump = text.lines().find_map(|line| line.trim().strip_prefix("ProxyJump "));
    Ok(jump.filter(|jump| *jump != bastion.login_argument()).map(str::to_owned))
}

pub(super) fn disable(places: &Places) -> Result<u8, Failure> {
    let config = places.ssh().join("config");
    let made = places::read(&places.ssh_config())?.is_some_and(|text| text.contains(MADE));
    let line = include_line(places)?;
    let text = places::read_bytes(&config)?.unwrap_or_default();
    let rest = without(&text, &line);
    let left = mention(rest.as_deref().unwrap_or(&text), places);
    if let Some(rest) = rest {
        match rest.is_empty() && made {
            true => places::remove(&config)?,
            false => places::replace(&config, &rest)?,
        }
    }
    places::remove(&places.ssh_config())?;
    places::remove(&places.known_hosts())?;
    print(&match left {
        None => "`ssh NAME.dev` is nothing special any more; your files are as they were\n".to_owned(),
        Some(number) => format!(
            "`ssh NAME.dev` is nothing special any more; line {number} of {} still includes devctl's file, which is gone: \
             delete it\n",
            places.shorten(&config)
        ),
    })
}

pub(super) fn show(places: &Places) -> Result<u8, Failure> {
    if !is_enabled(places)? {
        return print("disabled: `devctl config ssh enable` makes `ssh NAME.dev` lead to your DevServers\n");
    }
    let mut text = format!("enabled: {} has the line\n", places.shorten(&places.ssh().join("config")));
    for file in [None, Some(places.ssh_config()), Some(places.known_hosts())] {
        let shown = match file {
            None => include_line(places)?,
            Some(file) => {
                let _ = writeln!(text, "{}:", places.shorten(&file));
                places::read(&file)?.unwrap_or_else(|| "(missing: `devctl config ssh enable` writes it)\n".to_owned())
            }
        };
        text.extend(shown.lines().map(|line| format!("  {line}\n")));
    }
    print(&text)
}

/// Whether OpenSSH reads devctl's file.
pub(super) fn is_enabled(places: &Places) -> Result<bool, Failure> {
    let line = include_line(places)?;
    Ok(places::read_bytes(&places.ssh().join("config"))?.is_some_and(|text| is_for_all(&text, &line)))
}

/// What is missing of devctl's files.
pub(super) fn missing(places: &Places) -> Vec<PathBuf> {
    [places.ssh_config(), places.known_hosts()].into_iter().filter(|file| !file.is_file()).collect()
}

/// What OpenSSH needs to know. `*.*.dev` is left alone: these are hosts of the Internet, and `dev.alice.dev` looks like
/// one of them. Whoever shares a DevServer, asked or not, chose its name, and would choose which host is hers.
/// `HostName` makes a name that the bastion cannot take for another host's.
fn ssh_config(bastion: &Bastion, authority: &Authority, places: &Places, made: bool) -> Result<String, Failure> {
    let user = &authority.user;
    let mut text =
        "# `devctl config ssh enable` wrote this, and `devctl config ssh disable` takes it away.\n".to_owned();
    if made {
        text += MADE;
    }
    let identity = match &bastion.identity {
        Some(identity) => format!("  IdentityFile {}\n", quoted(identity)?),
        None => String::new(),
    };
    let jump = bastion.login_argument();
    let known_hosts = quoted(&places.known_hosts())?;
    let _ = write!(
        text,
        "Host *.dev !*.*.dev\n  HostName %h.{user}\n  User {user}\n  ProxyJump {jump}\n{identity}  \
         UserKnownHostsFile {known_hosts}\n  StrictHostKeyChecking yes\n  CheckHostIP no\n"
    );
    if !identity.is_empty() {
        let _ = write!(text, "Host {}\n{identity}", bastion.destination.host);
    }
    Ok(text)
}

fn include_line(places: &Places) -> Result<String, Failure> {
    Ok(format!("Include {}\n", quoted(&places.ssh_config())?))
}

/// A path as ssh_config(5) wants it.
fn quoted(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().filter(|text| !text.contains(['"', '\n', '\r', '%', '*', '?', '[', '\\']));
    text.map(|text| format!("\"{text}\"")).ok_or_else(|| {
        Failure::new(format!("OpenSSH's configuration cannot name {}", path.display()))
            .cure("set XDG_CONFIG_HOME to a folder with a plainer name")
    })
}

/// Puts the line at the top of the file, unless it is for all hosts already.
fn include(config: &Path, places: &Places) -> Result<(), Failure> {
    let line = include_line(places)?;
    let text = places::read_bytes(config)?.unwrap_or_default();
    match is_for_all(&text, &line) {
        true => Ok(()),
        false => {
            let rest = without(&text, &line).unwrap_or(text);
            places::replace(config, &[line.as_bytes(), &rest].concat())
        }
    }
}

/// Whether the line is in the text, and not of some host's block.
fn is_for_all(text: &[u8], line: &str) -> bool {
    let is_of_all = |one: &&[u8]| {
        let one = String::from_utf8_lossy(one);
        ssh_config::split(&one).is_none_or(|(keyword, _)| !["host", "match"].contains(&keyword.as_str()))
    };
    lines(text).take_while(is_of_all).any(|one| is_it(one, line))
}

/// The number of the first line that includes devctl's file, in whatever words.
fn mention(text: &[u8], places: &Places) -> Option<usize> {
    let is_one = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let words = ssh_config::split(&line).filter(|(keyword, _)| keyword == "include");
        let files = words.map(|(_, files)| ssh_config::arguments(files)).unwrap_or_default();
        files.iter().any(|file| places.ssh().join(places.expand(file)) == places.ssh_config())
    };
    lines(text).position(is_one).map(|at| at + 1)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// However it is indented, and whatever ends it.
fn is_it(one: &[u8], line: &str) -> bool {
    one.trim_ascii() == line.trim().as_bytes()
}

/// The text without such lines; none if it has none.
fn without(text: &[u8], line: &str) -> Option<Vec<u8>> {
    let others: Vec<&[u8]> = lines(text).filter(|one| !is_it(one, line)).collect();
    (others.len() < lines(text).count()).then(|| others.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_comes_and_goes() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::new(home.path().into(), home.path().join(".config"));
        let config = places.ssh().join("config");
        let befores = ["", "Host x\n", "Host x\n  Port 7", "\n# ä\n\tHost *\r\n"].map(str::as_bytes);
        for before in befores.into_iter().chain([&b"# caf\xe9\nHost b\xe9b\n"[..]]) {
            places::replace(&config, before).unwrap();
            assert!(!is_enabled(&places).unwrap());
            for _ in 0..2 {
                include(&config, &places).unwrap();
                let text = std::fs::read(&config).unwrap();
                assert_eq!(text, [include_line(&places).unwrap().as_bytes(), before].concat());
                assert!(is_enabled(&places).unwrap());
            }
            disable(&places).unwrap();
            assert_eq!(std::fs::read(&config).unwrap(), before);
        }
    }

    #[test]
    fn a_line_that_was_moved_is_known_for_what_it_does() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::new(home.path().into(), home.path().join(".config"));
        let line = include_line(&places).unwrap();
        let config = places.ssh().join("config");
        let read = || std::fs::read_to_string(&config).unwrap();
        for (text, enabled) in [
            (format!("# hers\n  {}\r\nHost x\n", line.trim_end()), true),
            (format!("Host y\n{line}Port 7\n"), false),
            (format!("Host y\n{}", line.trim_end()), false),
        ] {
            places::replace(&config, text.as_bytes()).unwrap();
            assert_eq!(is_enabled(&places).unwrap(), enabled, "{text}");
            include(&config, &places).unwrap();
            assert!(is_enabled(&places).unwrap() && read().matches("Include").count() == 1, "{text}");
            disable(&places).unwrap();
            assert!(!read().contains("Include"), "{text}");
        }
        assert_eq!(mention(b"Host a\n  include ~/.config/devctl/ssh_config\n", &places), Some(2));
        assert_eq!(mention(b"Include other\nHost devctl\n", &places), None);
    }

    #[test]
    fn a_file_that_devctl_made_goes_with_it() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::new(home.path().into(), home.path().join(".config"));
        let config = places.ssh().join("config");
        places::replace(&places.ssh_config(), MADE.as_bytes()).unwrap();
        include(&config, &places).unwrap();
        disable(&places).unwrap();
        assert!(!config.exists() && !places.ssh_config().exists());
        // What she added meanwhile stays.
        places::replace(&places.ssh_config(), MADE.as_bytes()).unwrap();
        include(&config, &places).unwrap();
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text + "Host mine\n").unwrap();
        disable(&places).unwrap();
        assert_eq!(std::fs::read_to_string(&config).unwrap(), "Host mine\n");
    }

    #[test]
    fn a_folder_that_openssh_cannot_name_is_refused() {
        let places = Places::new("/home/a\"b".into(), "/home/a\"b/.config".into());
        assert!(include_line(&places).unwrap_err().to_string().contains("XDG_CONFIG_HOME"));
    }
}
