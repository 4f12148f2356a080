//! What OpenSSH does better: devctl tells its programs where to, and they take its place.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::arguments::{Copy, Forward, Ports, Ssh};
use super::bastion::Bastion;
use super::failure::Failure;
use crate::api::names::{is_devserver_name, is_user_name};

/// Runs ssh. None: it is not installed.
pub(super) fn ssh(bastion: &Bastion, ssh: &Ssh) -> Result<Option<u8>, Failure> {
    let login = login(bastion, ssh.name.as_deref())?;
    let Some(program) = find("ssh") else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(options(bastion, "-p"));
    if ssh.tty {
        command.arg("-t");
    }
    command.arg(format!("{login}@{}", bastion.destination.host));
    // No `--`: what follows the host is the command, dashes or not.
    command.args(ssh.command());
    Err(become_it(command))
}

/// Runs scp. None: it is not installed, or not the ssh that it needs.
pub(super) fn cp(bastion: &Bastion, copy: &Copy) -> Result<Option<u8>, Failure> {
    let Some((program, _)) = find("scp").zip(find("ssh")) else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(options(bastion, "-P"));
    command.args(copy.recursive.then_some("-r")).args(copy.preserve.then_some("-p")).arg("--");
    for path in &copy.paths {
        command.arg(place(bastion, path)?);
    }
    Err(become_it(command))
}

/// Runs ssh, which only forwards. None: it is not installed.
pub(super) fn forward(bastion: &Bastion, forward: &Forward) -> Result<Option<u8>, Failure> {
    let login = login(bastion, Some(&forward.name))?;
    let Some(program) = find("ssh") else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(options(bastion, "-p")).args(["-N", "-o", "ExitOnForwardFailure=yes", "-o", "ControlPath=none"]);
    for ports in &forward.ports {
        command.arg("-L").arg(format!("127.0.0.1:{}:localhost:{}", ports.local, ports.remote));
        eprintln!("{}", asks(ports, &forward.name));
    }
    command.arg(format!("{login}@{}", bastion.destination.host));
    Err(become_it(command))
}

/// What it is told by that it forwards.
pub(super) fn forwards(Ports { local, remote }: &Ports, name: &str) -> String {
    format!("devctl: forwards 127.0.0.1:{local} to port {remote} of {name}; Ctrl-C ends it")
}

/// The same before ssh is there, which alone can tell whether it does.
fn asks(Ports { local, remote }: &Ports, name: &str) -> String {
    format!("devctl: asks ssh to forward 127.0.0.1:{local} to port {remote} of {name}; Ctrl-C ends it")
}

/// Whom to log in as to land in that DevServer.
pub(super) fn login(bastion: &Bastion, name: Option<&str>) -> Result<String, Failure> {
    match name {
        None => Ok(bastion.login.clone()),
        Some(name) if is_name(name) => {
            // She may have logged in to one of them: then it is the default one.
            let user = bastion.login.split_once('+').map_or(bastion.login.as_str(), |(user, _)| user);
            Ok(format!("{user}+{name}"))
        }
        Some(name) => {
            let failure = Failure::new(format!("no DevServer can be called `{name}`"));
            // As ssh ends where it cannot get in, so that nobody takes it for the end of a program there.
            Err(failure.cure("`devctl list` tells yours").no_connection())
        }
    }
}

/// `mydev`, or `mydev.bob` for one of somebody else's.
fn is_name(name: &str) -> bool {
    match name.split_once('.') {
        Some((name, owner)) => is_devserver_name(name) && is_user_name(owner),
        None => is_devserver_name(name),
    }
}

/// Where to, in a way that files of OpenSSH's may add to.
fn options(bastion: &Bastion, port: &str) -> Vec<OsString> {
    let mut options = Vec::new();
    if let Some(number) = bastion.destination.port {
        options.extend([port.into(), number.to_string().into()]);
    }
    if let Some(identity) = &bastion.identity {
        options.extend(["-i".into(), identity.into()]);
    }
    options
}

/// The DevServer and the path in it of `NAME:PATH`. A slash before the colon makes it a local path, as scp has it.
pub(super) fn split(path: &OsStr) -> Option<(String, &[u8])> {
    let bytes = path.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b':').filter(|at| !bytes[..*at].contains(&b'/'))?;
    Some((String::from_utf8_lossy(&bytes[..at]).into_owned(), &bytes[at + 1..]))
}

/// A word of `devctl cp` as scp wants it.
fn place(bastion: &Bastion, word: &OsStr) -> Result<OsString, Failure> {
    let Some((name, path)) = split(word) else { return Ok(word.to_owned()) };
    let login = login(bastion, Some(name.as_str()).filter(|name| !name.is_empty()))?;
    let host = match bastion.destination.host.contains(':') {
        true => format!("[{}]", bastion.destination.host),
        false => bastion.destination.host.clone(),
    };
    Ok(OsString::from_vec([format!("{login}@{host}:").as_bytes(), path].concat()))
}

/// The program that a shell would find.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
}

/// From here on this process is that program: signals, terminal and exit status are its own.
fn become_it(mut command: Command) -> Failure {
    let error = command.exec();
    Failure::new(format!("failed to run {}: {error}", command.get_program().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::super::places::Places;
    use super::*;

    fn bastion(destination: &str) -> Bastion {
        let home = tempfile::tempdir().unwrap();
        let places = Places::new(home.path().into(), home.path().into());
        Bastion::resolve(destination.parse().unwrap(), None, &places).unwrap()
    }

    #[test]
    fn paths_in_devservers_are_logins() {
        let bastion = bastion("alice@bastion:2222");
        let place = |path: &str| place(&bastion, path.as_ref()).map(|path| path.into_string().unwrap());
        assert_eq!(place("gpu:data/x").unwrap(), "alice+gpu@bastion:data/x");
        assert_eq!(place(":x").unwrap(), "alice@bastion:x");
        assert_eq!(place("./a:b").unwrap(), "./a:b");
        assert_eq!(place("plain").unwrap(), "plain");
        assert_eq!(place("lab.bob:x").unwrap(), "alice+lab.bob@bastion:x");
        for wrong in ["No:x", "a.b.c:x", "-oProxyCommand=x:y"] {
            assert_eq!(place(wrong).unwrap_err().exit_status(), super::super::failure::NO_CONNECTION, "{wrong}");
        }
        assert_eq!(login(&self::bastion("alice+gpu@bastion"), Some("cpu")).unwrap(), "alice+cpu");
        assert_eq!(options(&bastion, "-P"), ["-P", "2222"]);
    }
}
