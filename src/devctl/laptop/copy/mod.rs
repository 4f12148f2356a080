//! `devctl cp` where OpenSSH is not installed, or no bastion is asked: files by SFTP, over a connection of devctl's
//! own.

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

use super::administrate::{self, Pod};
use super::arguments::{Cluster, Copy};
use super::bastion::Bastion;
use super::connection::{self, Connection};
use super::failure::{FAILED, Failure, INTERRUPTED, USAGE};
use super::host_key::Unknown;
use super::sftp::Sftp;
use super::{openssh, remote};
use crate::workspace::Program;
use end::End;
use progress::Progress;
use tree::{Copying, Lost};

/// By what DevServers are reached.
pub(super) enum By<'a> {
    Bastion(&'a Bastion),
    Cluster(&'a Cluster),
}

pub(super) async fn run(by: &By<'_>, copy: &Copy) -> Result<u8, Failure> {
    tokio::select! {
        biased;
        status = all(by, copy) => status,
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

async fn all(by: &By<'_>, copy: &Copy) -> Result<u8, Failure> {
    let mut places: Vec<Place> = copy.paths.iter().map(|word| Place::of(word)).collect();
    let Some(target) = places.pop() else { return Ok(USAGE) };
    if target.name.is_none() && places.iter().all(|place| place.name.is_none()) {
        let cure = "NAME:PATH is in a DevServer, :PATH in your default one; `cp` copies what is here";
        return Err(Failure::new("none of these is in a DevServer").cure(cure).status(USAGE));
    }
    // Nothing is begun that cannot be done.
    for name in places.iter().chain([&target]).filter_map(|place| place.name.as_deref()) {
        by.login(name)?;
    }
    let mut ends = Ends { by, open: HashMap::new() };
    let status = copy_all(&mut ends, copy, &places, &target).await;
    for (way, sftp) in ends.open.into_values() {
        drop(sftp);
        way.leave().await;
    }
    status
}

async fn copy_all(ends: &mut Ends<'_>, copy: &Copy, places: &[Place], target: &Place) -> Result<u8, Failure> {
    let by = ends.by;
    let to = ends.end(target).await?;
    let target = home(&to, &target.path);
    let is_folder = to.is_folder(&target).await.map_err(|_| by.lost())?;
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
        let meant = pattern::expand(&copying.from, path).await.map_err(|_| by.lost())?;
        if !is_folder && places.len().max(meant.len()) > 1 {
            let message = format!("{} is not a folder, and more than one file is to be copied", to.show(&target));
            return Err(Failure::new(message).cure("make it: `mkdir`, or `devctl ssh NAME mkdir`"));
        }
        for path in &meant {
            let into = if is_folder { within(&target, path) } else { target.clone() };
            copying.copy(path, &into).await.map_err(|Lost| by.lost())?;
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

/// `~` is her home in the DevServer, where its server begins; the shell has seen to the one here. The server is not
/// asked: it would choose what a file is called here.
fn home(end: &End, path: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) if matches!(end, End::There { .. }) => Path::new(".").join(rest),
        _ => path.to_owned(),
    }
}

/// The DevServers that files go to or come from, by their logins.
struct Ends<'a> {
    by: &'a By<'a>,
    open: HashMap<String, (Way, Rc<Sftp>)>,
}

/// What leads to one, for as long as it is kept.
enum Way {
    Bastion(Connection),
    Pod(Pod),
}

impl Ends<'_> {
    async fn end(&mut self, place: &Place) -> Result<End, Failure> {
        let Some(name) = place.name.clone() else { return Ok(End::Here) };
        let login = self.by.login(&name)?;
        if !self.open.contains_key(&login) {
            let opened = self.by.open(login.clone()).await?;
            self.open.insert(login.clone(), opened);
        }
        match self.open.get(&login) {
            Some((_, sftp)) => Ok(End::There { name, sftp: sftp.clone() }),
            None => Err(self.by.lost()),
        }
    }
}

impl By<'_> {
    /// Whom to log in as at the bastion; the DevServer's name on a cluster, which has no default one.
    fn login(&self, name: &str) -> Result<String, Failure> {
        match self {
            Self::Bastion(bastion) => openssh::login(bastion, Some(name).filter(|name| !name.is_empty())),
            Self::Cluster(_) if name.is_empty() => Err(Failure::new("name a DevServer")
                .cure("NAME:PATH; `devctl list` shows which there are")
                .status(USAGE)),
            Self::Cluster(_) => Ok(name.to_owned()),
        }
    }

    /// That nothing more goes or comes.
    fn lost(&self) -> Failure {
        match self {
            Self::Bastion(_) => remote::lost(),
            Self::Cluster(_) => administrate::lost(),
        }
    }

    async fn open(&self, login: String) -> Result<(Way, Rc<Sftp>), Failure> {
        match self {
            Self::Bastion(bastion) => {
                let bastion = Bastion { login, ..(*bastion).clone() };
                let connection = connection::open(&bastion, Unknown::Refuse).await?;
                let sftp = Sftp::start(&connection, bastion.quiet).await?;
                Ok((Way::Bastion(connection), Rc::new(sftp)))
            }
            Self::Cluster(cluster) => {
                let pod = Pod::open(cluster, Some(&login)).await?;
                pod.needs_agent("`kubectl cp` needs none, but `tar` in the image")?;
                let sftp = Sftp::over(pod.start(Program::Sftp, false).await?).await?;
                Ok((Way::Pod(pod), Rc::new(sftp)))
            }
        }
    }
}

impl Way {
    async fn leave(self) {
        match self {
            Self::Bastion(connection) => {
                let _ = connection.handle.disconnect(Disconnect::ByApplication, "", "").await;
            }
            Self::Pod(pod) => pod.leave().await,
        }
    }
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
