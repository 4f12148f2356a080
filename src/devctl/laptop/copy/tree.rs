//! Files, and folders with all that is in them, from one end to the other. What fails is told, and the rest goes on.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::super::sftp::Wrong;
use super::end::{End, Kind, kept, kind};
use super::progress::Progress;
use super::stream::{Sink, Source};
use crate::agent::sftp_wire::Attributes;

/// As many folders within each other as scp goes down.
const DEPTH: usize = 64;

pub(super) struct Copying {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) recursive: bool,
    pub(super) preserve: bool,
    pub(super) progress: RefCell<Progress>,
    /// Something was not copied.
    pub(super) failed: Cell<bool>,
}

/// The connection is gone: there is no next file.
#[derive(Debug)]
pub(super) struct Lost;

/// Why a file was not copied.
enum Trouble {
    File(String),
    Lost,
}

impl Copying {
    /// Copies what is at `from` to where `to` says.
    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Result<(), Lost> {
        self.entry(from, to, None, &[]).await
    }

    /// Tells what went wrong with one file.
    pub(super) fn report(&self, text: &str) {
        self.failed.set(true);
        self.progress.borrow_mut().interrupt();
        eprintln!("devctl: {text}");
    }

    /// `known`: what `from` is, if it has been told. `above`: the folders that it is in, without links.
    fn entry<'a>(
        &'a self,
        from: &'a Path,
        to: &'a Path,
        known: Option<Attributes>,
        above: &'a [PathBuf],
    ) -> LocalBoxFuture<'a, Result<(), Lost>> {
        async move {
            match self.one(from, to, known, above).await {
                Ok(()) => Ok(()),
                Err(Trouble::File(text)) => {
                    self.report(&text);
                    Ok(())
                }
                Err(Trouble::Lost) => Err(Lost),
            }
        }
        .boxed_local()
    }

    async fn one(&self, from: &Path, to: &Path, known: Option<Attributes>, above: &[PathBuf]) -> Result<(), Trouble> {
        let found = match known {
            Some(known) => known,
            None => at(&self.from, from, self.from.stat(from).await)?,
        };
        let refused = |why: &str| Err(Trouble::File(format!("{}: {why}", self.from.show(from))));
        match kind(&found) {
            Kind::File => self.file(from, to, &found).await,
            Kind::Folder if !self.recursive => refused("it is a folder, which `-r` copies with all that is in it"),
            Kind::Folder if above.len() >= DEPTH => refused("too many folders within each other"),
            Kind::Folder => self.folder(from, to, &found, above).await,
            Kind::Other => refused("neither a file nor a folder"),
        }
    }

    async fn folder(&self, from: &Path, to: &Path, found: &Attributes, above: &[PathBuf]) -> Result<(), Trouble> {
        let real = at(&self.from, from, self.from.real_path(from).await)?;
        if above.contains(&real) {
            let why = "it leads back to a folder that it is in";
            return Err(Trouble::File(format!("{}: {why}", self.from.show(from))));
        }
        let is_there = at(&self.to, to, self.to.is_folder(to).await)?;
        let nearest = to.parent().filter(|_| !is_there).unwrap_or(to);
        let nearest = if nearest.as_os_str().is_empty() { Path::new(".") } else { nearest };
        if self.from.is_same(&self.to) && at(&self.to, nearest, self.to.real_path(nearest).await)?.starts_with(&real) {
            return Err(Trouble::File(format!("{}: a folder cannot be copied into itself", self.from.show(from))));
        }
        let names = at(&self.from, from, self.from.list(from).await)?;
        if !is_there {
            // Else nothing could be put into it.
            let mode = found.permissions.unwrap_or(0o755) & 0o777 | 0o700;
            at(&self.to, to, self.to.make_folder(to, mode).await)?;
        }
        let above = [above, &[real]].concat();
        for (name, known) in names {
            match judge(&name) {
                Name::Dots => {}
                Name::Good => {
                    let (from, to) = (from.join(&name), to.join(&name));
                    self.entry(&from, &to, known, &above).await.map_err(|Lost| Trouble::Lost)?;
                }
                // CVE-2019-6111: it would get out of the folder that she named.
                Name::Evil => self.report(&format!("{}: no name for a file", self.from.show(Path::new(&name)))),
            }
        }
        match self.preserve {
            true => at(&self.to, to, self.to.keep(to, found).await),
            false => Ok(()),
        }
    }

    async fn file(&self, from: &Path, to: &Path, found: &Attributes) -> Result<(), Trouble> {
        // It would be emptied before it is read.
        let is_same = self.from.is_same(&self.to)
            && match (self.from.real_path(from).await, self.to.real_path(to).await) {
                (Ok(from), Ok(to)) => from == to,
                _ => false,
            };
        if is_same {
            return Err(Trouble::File(format!("{}: it would be copied to itself", self.from.show(from))));
        }
        let size = found.size.unwrap_or(0);
        let mut source = at(&self.from, from, Source::open(&self.from, from, size).await)?;
        let mode = kept(found).permissions.unwrap_or(0o644);
        let mut sink = match at(&self.to, to, Sink::create(&self.to, to, mode | 0o200).await) {
            Ok(sink) => sink,
            Err(trouble) => {
                at(&self.from, from, source.close().await)?;
                return Err(trouble);
            }
        };
        self.progress.borrow_mut().begin(&self.from.show(from), size);
        let copied = self.bytes(from, to, &mut source, &mut sink).await;
        let copied = match copied {
            Ok(()) => at(&self.to, to, sink.finish(self.preserve.then_some(found)).await),
            Err(trouble) => {
                at(&self.to, to, sink.give_up().await)?;
                Err(trouble)
            }
        };
        self.progress.borrow_mut().end();
        at(&self.from, from, source.close().await)?;
        copied
    }

    async fn bytes(&self, from: &Path, to: &Path, source: &mut Source, sink: &mut Sink) -> Result<(), Trouble> {
        while let Some(piece) = at(&self.from, from, source.next().await)? {
            at(&self.to, to, sink.write(&piece).await)?;
            self.progress.borrow_mut().advance(piece.len());
        }
        Ok(())
    }
}

/// With the name of what it is about.
fn at<T>(end: &End, path: &Path, result: Result<T, Wrong>) -> Result<T, Trouble> {
    result.map_err(|wrong| match wrong {
        Wrong::Lost => Trouble::Lost,
        wrong => Trouble::File(format!("{}: {wrong}", end.show(path))),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    Good,
    /// Every folder has these.
    Dots,
    Evil,
}

/// What a name is that a folder is said to have.
fn judge(name: &OsStr) -> Name {
    match name.as_bytes() {
        b"." | b".." => Name::Dots,
        b"" => Name::Evil,
        bytes if bytes.contains(&b'/') || bytes.contains(&0) => Name::Evil,
        _ => Name::Good,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn copying(recursive: bool, preserve: bool) -> Copying {
        let (from, to) = (End::Here, End::Here);
        let progress = RefCell::new(Progress::new(false));
        Copying { from, to, recursive, preserve, progress, failed: Cell::new(false) }
    }

    #[test]
    fn no_name_leads_out_of_a_folder() {
        for name in ["../x", "/etc/passwd", "a/b", "..\0", ""] {
            assert_eq!(judge(name.as_ref()), Name::Evil, "{name}");
        }
        assert_eq!([judge(".".as_ref()), judge("..".as_ref())], [Name::Dots, Name::Dots]);
        for name in ["...", "..x", "-rf", "a b", "~"] {
            assert_eq!(judge(name.as_ref()), Name::Good, "{name}");
        }
    }

    #[tokio::test]
    async fn a_tree_comes_over_and_what_fails_does_not_stop_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(from.join("deep/er")).unwrap();
        std::fs::write(from.join("deep/er/file"), vec![7; 300_000]).unwrap();
        std::fs::write(from.join("z"), "last").unwrap();
        std::fs::set_permissions(from.join("z"), PermissionsExt::from_mode(0o440)).unwrap();
        symlink("deep", from.join("link")).unwrap();
        symlink("..", from.join("deep/up")).unwrap();
        symlink("nowhere", from.join("broken")).unwrap();
        let copying = copying(true, true);
        copying.copy(&from, &to).await.unwrap();
        assert!(copying.failed.get(), "two links lead nowhere");
        for file in ["deep/er/file", "link/er/file"] {
            assert_eq!(std::fs::read(to.join(file)).unwrap(), vec![7; 300_000]);
        }
        assert!(!to.join("link").is_symlink() && !to.join("deep/up").exists() && !to.join("broken").exists());
        assert_eq!(std::fs::read_to_string(to.join("z")).unwrap(), "last");
        assert_eq!(std::fs::metadata(to.join("z")).unwrap().permissions().mode() & 0o777, 0o440);
    }

    #[tokio::test]
    async fn nothing_is_copied_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "data").unwrap();
        for (from, to) in [(file.as_path(), file.as_path()), (folder.path(), &folder.path().join("inside"))] {
            let copying = copying(true, false);
            copying.copy(from, to).await.unwrap();
            assert!(copying.failed.get(), "{}", from.display());
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "data");
    }
}
