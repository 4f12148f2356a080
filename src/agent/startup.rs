//! The owner's startup script: run by the pod's first process, in the container, as its user, before anybody is let in.
//!
//! It lets nobody wait for ever: whether it succeeds, fails or takes too long, the pod becomes ready then. How it ended
//! is in a file beside the agent, from where the pod's startup probe (`bastion-agent started`) reads it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FallocateFlags, OFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::account::{self, Account};
use super::place;
use crate::plain::plain;

/// The variable that brings the script to `bastion-agent install`, in base64: Kubernetes replaces `$(NAME)` in values.
pub const SCRIPT_VARIABLE: &str = "BASTION_STARTUP_SCRIPT";
/// How long the script may keep everybody out.
pub(super) const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The script, and how it ended: empty if well, else in words. Both beside the agent.
const SCRIPT: &str = "startup";
const ENDED: &str = "startup.ended";
/// Beside them once the probe has told of a failure.
const TOLD: &str = "startup.told";
/// The script's output, in the home.
const LOG: &str = ".bastion/startup.log";
/// And where the home takes no file.
const LOG_ELSEWHERE: &str = "/tmp/bastion-startup.log";
/// Room that is taken for the output beforehand: a script may fill the home, and fail by that.
const RESERVED: u64 = 256 * 1024;
/// What of the output is told when it fails.
const TOLD_LINES: usize = 5;
const TOLD_BYTES: u64 = 600;
/// Between two looks whether it ended.
const LOOK: Duration = Duration::from_millis(100);
/// Between reporting a failure and becoming ready, so that the report is out first.
const AHEAD: Duration = Duration::from_secs(1);

/// Puts the script, if there is one, into the agent's folder.
pub(super) fn install(folder: &Path) -> io::Result<()> {
    use base64::Engine;
    let Some(encoded) = std::env::var_os(SCRIPT_VARIABLE) else { return Ok(()) };
    let script = base64::engine::general_purpose::STANDARD
        .decode(encoded.as_encoded_bytes())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let path = folder.join(SCRIPT);
    fs::write(&path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// The script while it runs.
pub(super) struct Startup {
    folder: PathBuf,
    log: Option<PathBuf>,
    pub(super) child: Child,
}

impl Startup {
    /// Starts the script, if there is one.
    pub(super) fn begin() -> Option<Self> {
        let (folder, script) = (place::folder()?, place::companion(SCRIPT)?);
        // Of the container that ran here before.
        for of_before in [ENDED, TOLD] {
            let _ = fs::remove_file(folder.join(of_before));
        }
        let home = Account::own().home;
        match start(&script, &home) {
            Ok((child, log)) => Some(Self { folder, log, child }),
            Err(error) => {
                write_end(&folder, &format!("the startup script could not be started: {error}"));
                None
            }
        }
    }

    /// Notes how it ended.
    pub(super) fn ended(&self, status: ExitStatus) {
        use std::os::unix::process::ExitStatusExt;
        let how = match (status.code(), status.signal()) {
            (Some(0), _) => return write_end(&self.folder, ""),
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown end".to_owned(),
        };
        self.failed(&format!("the startup script failed ({how})"));
    }

    /// It runs on, and nobody waits for it any longer.
    pub(super) fn took_too_long(&self) {
        self.failed(&format!("the startup script takes longer than {} minutes and runs on", LIMIT.as_secs() / 60));
    }

    fn failed(&self, what: &str) {
        let Some(log) = &self.log else {
            return write_end(&self.folder, &format!("{what}; there was no room for its output"));
        };
        let last = last_lines(log).unwrap_or_default();
        let last =
            if last.is_empty() { "it wrote nothing".to_owned() } else { format!("the end of its output: {last}") };
        let lacks = if is_cut_off(log) { " (not all of it: there is no more room)" } else { "" };
        write_end(&self.folder, &format!("{what}; its output is in {}{lacks}; {last}", log.display()));
    }
}

/// Waits until the script has ended, as the pod's startup probe; whether the pod may count as ready. A failure is told
/// on stdout, once, and only the next look finds the pod ready.
pub fn started() -> io::Result<bool> {
    let Some(folder) = place::folder() else { return Ok(true) };
    let how = loop {
        match fs::read_to_string(folder.join(ENDED)) {
            Ok(how) => break how,
            Err(error) if error.kind() == io::ErrorKind::NotFound => sleep(LOOK),
            Err(error) => return Err(error),
        }
    };
    if how.is_empty() {
        return Ok(true);
    }
    if folder.join(TOLD).exists() {
        sleep(AHEAD);
        return Ok(true);
    }
    File::create(folder.join(TOLD))?;
    writeln!(io::stdout(), "{how}")?;
    Ok(false)
}

fn start(script: &Path, home: &Path) -> io::Result<(Child, Option<PathBuf>)> {
    let (output, log) = match open_log(home) {
        Some((file, path)) => (Some(file), Some(path)),
        None => (None, None),
    };
    let to_log = || -> io::Result<Stdio> {
        Ok(match &output {
            Some(file) => file.try_clone()?.into(),
            None => Stdio::null(),
        })
    };
    // Without `#!` it is a shell's, as execvp(3) has it.
    let mut command = match fs::read(script)?.starts_with(b"#!") {
        true => Command::new(script),
        false => {
            let mut command = Command::new("/bin/sh");
            command.arg(script);
            command
        }
    };
    command
        .current_dir(account::folder(home))
        .stdin(Stdio::null())
        .stdout(to_log()?)
        .stderr(to_log()?)
        .process_group(0);
    command.envs(Account::own().variables());
    Ok((command.spawn()?, log))
}

fn open_log(home: &Path) -> Option<(File, PathBuf)> {
    let own = home.join(LOG);
    if let Some(folder) = own.parent() {
        let _ = fs::create_dir_all(folder);
    }
    [own, PathBuf::from(LOG_ELSEWHERE)].into_iter().find_map(|path| {
        let file = create(&path).ok()?;
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, RESERVED) {
            Err(Errno::NOSPC | Errno::DQUOT) => {
                let _ = fs::remove_file(&path); // That of an earlier start would be taken for this one's.
                None
            }
            // Not every file system can.
            _ => Some((file, path)),
        }
    })
}

/// A file of our own. Others in the pod may write in the home too: what they put in its place is not followed as root,
/// nor waited for.
fn create(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags as i32).open(path)
}

/// Whether the script may have written what its log had no room for.
fn is_cut_off(log: &Path) -> bool {
    let Ok(file) = File::open(log) else { return false };
    let is_long = file.metadata().is_ok_and(|log| log.len() >= RESERVED);
    is_long && fstatvfs(&file).is_ok_and(|system| system.f_bavail == 0)
}

/// Whole, or not at all: the probe looks at any time.
fn write_end(folder: &Path, how: &str) {
    let unfinished = folder.join(".startup.ended");
    let written = fs::write(&unfinished, how).and_then(|()| fs::rename(&unfinished, folder.join(ENDED)));
    if let Err(error) = written {
        eprintln!("bastion-agent: failed to note how the startup script ended: {error}");
    }
    if !how.is_empty() {
        eprintln!("bastion-agent: {how}");
    }
}

/// What it last wrote, as one line.
fn last_lines(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TOLD_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    let lines = text.lines().map(|line| plain(line).trim().to_owned());
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(TOLD_LINES)..].join(" / "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, home: &Path) -> (ExitStatus, Option<PathBuf>) {
        let path = home.join("script");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let (mut child, log) = start(&path, home).unwrap();
        (child.wait().unwrap(), log)
    }

    #[test]
    fn a_script_runs_at_home_and_its_output_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let (status, log) = run("pwd; echo to stderr >&2; exit 3", home.path());
        assert_eq!(status.code(), Some(3));
        assert_eq!(log.as_deref(), Some(home.path().join(LOG).as_path()));
        let kept = fs::read_to_string(log.unwrap()).unwrap();
        assert_eq!(kept, format!("{}\nto stderr\n", home.path().canonicalize().unwrap().display()));
        let (status, _) = run("#!/bin/sh -e\nfalse\necho no\n", home.path());
        assert_eq!(status.code(), Some(1), "what its first line names runs it");
    }

    #[test]
    fn a_link_in_its_logs_place_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        fs::write(&target, "kept").unwrap();
        let link = home.path().join(LOG);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let (status, log) = run("echo planted", home.path());
        assert!(status.success() && log.as_ref() != Some(&link), "{log:?}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    #[test]
    fn how_it_ended_is_told_with_its_last_words() {
        use std::os::unix::process::ExitStatusExt;
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, format!("{}\none\ntwo\n\n\x1b[1mthree\nfour\nfive\nsix\n", "x".repeat(900))).unwrap();
        let child = Command::new("true").spawn().unwrap();
        let mut startup = Startup { folder: folder.path().to_owned(), log: Some(log.clone()), child };
        startup.ended(ExitStatus::from_raw(2 << 8));
        let told = fs::read_to_string(folder.path().join(ENDED)).unwrap();
        let expected = format!(
            "the startup script failed (exit code 2); its output is in {}; the end of its output: two / [1mthree / four / five / six",
            log.display()
        );
        assert_eq!(told, expected);
        startup.ended(ExitStatus::from_raw(0));
        assert_eq!(fs::read_to_string(folder.path().join(ENDED)).unwrap(), "");
        startup.child.wait().unwrap();
    }
}
