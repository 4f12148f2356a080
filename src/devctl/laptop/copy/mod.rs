//! `devctl cp` where OpenSSH is not installed: files by SFTP, over devctl's own connection.

mod end;
mod pattern;
mod progress;
mod stream;
mod tree;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use russh::Disconnect;

use super::arguments::Copy;
use super::bastion::Bastion;
use super::connection::{self, Connection};
use super::failure::{FAILED, Failure, INTERRUPTED, USAGE};
use super::host_key::Unknown;
use super::sftp::Sftp;
use super::{openssh, remote};
use end::End;
use progress::Progress;
use tree::{Copying, Lost};

pub(super) async fn run(bastion: &Bastion, copy: &Copy) -> Result<u8, Failure> {
    tokio::select! {
        biased;
        status = all(bastion, copy) => status,
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::new("interrupted").status(INTERRUPTED)),
    }
}

/// What a word of the command line means.
struct Place {
    /// In which DevServer, the default one where it is empty; none: here.
    name: Option<String>,
    path: PathBuf,
}

impl Place {
    fn of(word: &OsStr) -> Self {
        let Some((name, path)) = openssh::split(word) else { return Self { name: None, path: word.into() } };
        let path = if path.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(path) };
        Self { name: Some(name), path: path.into() }
    }
}

async fn all(bastion: &Bastion, copy: &Copy) -> Result<u8, Failure> {
    let mut places: Vec<Place> = copy.paths.iter().map(|word| Place::of(word)).collect();
    let Some(target) = places.pop() else { return Ok(USAGE) };
    if target.name.is_none() && places.iter().all(|place| place.name.is_none()) {
        let cure = "NAME:PATH is in a DevServer, :PATH in your default one; `cp` copies what is here";
        return Err(Failure::new("none of these is in a DevServer").cure(cure).status(USAGE));
    }
    // Nothing is begun that cannot be done.
    for name in places.iter().chain([&target]).filter_map(|place| place.name.as_deref()) {
        login(bastion, name)?;
    }
    let mut ends = Ends { bastion, open: HashMap::new() };
    let status = copy_all(&mut ends, copy, &places, &target).await;
    for (connection, _) in ends.open.values() {
        let _ = connection.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
    status
}

async fn copy_all(ends: &mut Ends<'_>, copy: &Copy, places: &[Place], target: &Place) -> Result<u8, Failure> {
    let to = ends.end(target).await?;
    let target = home(&to, &target.path);
    let is_folder = to.is_folder(&target).await.map_err(|_| remote::lost())?;
    let mut failed = false;
    for place in places {
        let from = ends.end(place).await?;
        let copying = Copying {
            from,
            to: to.clone(),
            recursive: copy.recursive,
            preserve: copy.preserve,
            progress: RefCell::new(Progress::new(true)),
            failed: Cell::new(failed),
        };
        let path = home(&copying.from, &place.path);
        let meant = pattern::expand(&copying.from, path).await.map_err(|_| remote::lost())?;
        if !is_folder && places.len().max(meant.len()) > 1 {
            let message = format!("{} is no folder, and more than one file is to be copied", to.show(&target));
            return Err(Failure::new(message).cure("make it: `mkdir`, or `devctl ssh NAME mkdir`"));
        }
        for path in &meant {
            let into = if is_folder { within(&target, path) } else { target.clone() };
            copying.copy(path, &into).await.map_err(|Lost| remote::lost())?;
        }
        failed = copying.failed.get();
    }
    Ok(if failed { FAILED } else { 0 })
}

/// Where in `folder` something goes that is called `path` where it is.
fn within(folder: &Path, path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    match bytes[..end].rsplit(|byte| *byte == b'/').next() {
        // What is in them.
        None | Some(b"" | b"." | b"..") => folder.to_owned(),
        Some(name) => folder.join(OsStr::from_bytes(name)),
    }
}

/// `~` is her home in the DevServer, where its server begins; the shell has seen to the one here. The server is not asked: it would
/// choose what a file is called here.
fn home(end: &End, path: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) if matches!(end, End::There { .. }) => Path::new(".").join(rest),
        _ => path.to_owned(),
    }
}

/// The DevServers that files go to or come from, by their logins.
struct Ends<'a> {
    bastion: &'a Bastion,
    open: HashMap<String, (Connection, Rc<Sftp>)>,
}

impl Ends<'_> {
    async fn end(&mut self, place: &Place) -> Result<End, Failure> {
        let Some(name) = place.name.clone() else { return Ok(End::Here) };
        let login = login(self.bastion, &name)?;
        if !self.open.contains_key(&login) {
            let bastion = Bastion { login: login.clone(), ..self.bastion.clone() };
            let connection = connection::open(&bastion, Unknown::Refuse).await?;
            let sftp = Rc::new(Sftp::start(&connection, bastion.quiet).await?);
            self.open.insert(login.clone(), (connection, sftp));
        }
        match self.open.get(&login) {
            Some((_, sftp)) => Ok(End::There { name, sftp: sftp.clone() }),
            None => Err(remote::lost()),
        }
    }
}

fn login(bastion: &Bastion, name: &str) -> Result<String, Failure> {
    openssh::login(bastion, Some(name).filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_folder_keeps_its_name() {
        let within = |path: &str| within(Path::new("to"), Path::new(path));
        assert_eq!(within("a/b"), Path::new("to/b"));
        assert_eq!(within("a/b/"), Path::new("to/b"));
        for all in [".", "..", "/", "a/..", "a/.", "./"] {
            assert_eq!(within(all), Path::new("to"), "{all}");
        }
    }
}
