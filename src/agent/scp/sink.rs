//! Receives files (`scp -t`).

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::close::Close;
use super::super::said::said;
use super::wire::{Failure, Peer, Record, Times};
use super::{Options, PIECE};

/// Receives into `target`, or as `target` if that is no folder.
pub(super) fn receive<R: BufRead, W: Write>(
    peer: &mut Peer<R, W>,
    target: &Path,
    options: Options,
    close: Close,
) -> Result<(), Failure> {
    if options.folder {
        is_folder(target).map_err(|why| Failure::Told(about(target, &why)))?;
    }
    peer.agree()?;
    let mut sink = Sink { target, options, close, folders: Vec::new(), times: None };
    while let Some(record) = peer.record()? {
        match record {
            Record::Times(times) => {
                sink.times = Some(times);
                peer.agree()?;
            }
            Record::File { mode, size, name } => sink.file(peer, mode, size, &name)?,
            Record::Folder { mode, name } => sink.folder(peer, mode, &name)?,
            Record::EndOfFolder => sink.end_of_folder(peer)?,
        }
    }
    if sink.folders.is_empty() { Ok(()) } else { Err(Failure::Known) }
}

struct Sink<'a> {
    target: &'a Path,
    options: Options,
    close: Close,
    /// Those that were begun, the innermost last.
    folders: Vec<Folder>,
    /// Of what comes next.
    times: Option<Times>,
}

struct Folder {
    path: PathBuf,
    /// To set once it is filled.
    mode: Option<u32>,
    times: Option<Times>,
}

impl Sink<'_> {
    fn file<R: BufRead, W: Write>(
        &mut self,
        peer: &mut Peer<R, W>,
        mode: u32,
        size: u64,
        name: &OsStr,
    ) -> Result<(), Failure> {
        let (path, times) = (self.path(name), self.times.take());
        let is_new = fs::symlink_metadata(&path).is_err();
        // Its owner can write to it, whatever the mode is to be.
        let mode_now = mode & 0o777 | 0o200;
        let mut file = match OpenOptions::new().write(true).create(true).truncate(false).mode(mode_now).open(&path) {
            Ok(file) => file,
            Err(why) => return peer.warn(&about(&path, &why)), // The other side goes on with the next.
        };
        peer.agree()?;
        let written = copy(peer, size, &mut file)?;
        let finished = written.and_then(|()| self.finish(&file, is_new, mode, size));
        let intact = peer.agrees()?; // Else it could not read it all, and said so.
        let finished = finished.and_then(|()| match times {
            Some(times) if intact => file.set_times(times.into()),
            _ => Ok(()),
        });
        match finished.and_then(|()| (self.close)(file)) {
            Ok(()) => peer.agree(),
            Err(why) => peer.warn(&about(&path, &why)),
        }
    }

    fn finish(&self, file: &File, is_new: bool, mode: u32, size: u64) -> io::Result<()> {
        let metadata = file.metadata()?;
        if metadata.is_file() {
            file.set_len(size)?; // What was there may have been longer.
        }
        if self.options.preserve {
            file.set_permissions(Permissions::from_mode(mode))?;
        } else if is_new && mode & 0o200 == 0 {
            file.set_permissions(Permissions::from_mode(metadata.permissions().mode() & 0o7777 & !0o200))?;
        }
        Ok(())
    }

    fn folder<R: BufRead, W: Write>(&mut self, peer: &mut Peer<R, W>, mode: u32, name: &OsStr) -> Result<(), Failure> {
        if !self.options.recursive {
            return Err(Failure::told("protocol error: a folder without -r"));
        }
        let (path, times) = (self.path(name), self.times.take());
        // Its owner can fill it, whatever the mode is to be.
        let made = DirBuilder::new().mode(mode & 0o777 | 0o700).create(&path);
        let mode = match made {
            Ok(()) if self.options.preserve => Some(mode),
            Ok(()) => (mode & 0o700 != 0o700).then(|| permissions(&path) & (mode | !0o700)),
            Err(_) if path.is_dir() => self.options.preserve.then_some(mode),
            Err(why) => return peer.warn(&about(&path, &why)),
        };
        self.folders.push(Folder { path, mode, times });
        peer.agree()
    }

    fn end_of_folder<R: BufRead, W: Write>(&mut self, peer: &mut Peer<R, W>) -> Result<(), Failure> {
        let Some(Folder { path, mode, times }) = self.folders.pop() else {
            return Err(Failure::told("protocol error: the end of a folder that did not begin"));
        };
        let set = || {
            if let Some(times) = times {
                File::open(&path)?.set_times(times.into())?;
            }
            match mode {
                Some(mode) => fs::set_permissions(&path, Permissions::from_mode(mode)),
                None => Ok(()),
            }
        };
        match set() {
            Ok(()) => peer.agree(),
            Err(why) => peer.warn(&about(&path, &why)),
        }
    }

    /// Where what comes belongs.
    fn path(&self, name: &OsStr) -> PathBuf {
        match self.folders.last() {
            Some(folder) => folder.path.join(name),
            None if self.target.is_dir() => self.target.join(name),
            None => self.target.to_owned(),
        }
    }
}

/// Takes all of a file from the other side, also what cannot be written any more.
fn copy<R: BufRead, W: Write>(peer: &mut Peer<R, W>, size: u64, file: &mut File) -> Result<io::Result<()>, Failure> {
    let mut written = Ok(());
    let mut piece = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let room = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let read = peer.input.read(&mut piece[..room])?;
        if read == 0 {
            return Err(Failure::Known);
        }
        if written.is_ok() {
            written = file.write_all(&piece[..read]);
        }
        left -= read as u64;
    }
    Ok(written)
}

fn is_folder(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

fn permissions(path: &Path) -> u32 {
    fs::metadata(path).map_or(0o700, |metadata| metadata.permissions().mode() & 0o7777)
}

pub(super) fn about(path: &Path, why: &io::Error) -> String {
    format!("{}: {}", path.display(), said(why))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// What is answered to `said`, and the exit status.
    fn answers(target: &Path, flags: &str, said: &[u8]) -> (String, u8) {
        let mut answers = Vec::new();
        let status = crate::agent::scp(&[flags.into(), target.into()], said, &mut answers);
        (String::from_utf8(answers).unwrap(), status)
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_tree_is_received_with_times_and_modes() {
        let folder = folder();
        let said = b"T7 0 9 0\nD0500 0 d\nT5 0 6 0\nC0400 3 f\nabc\0C0755 0 empty\n\0E\n";
        assert_eq!(answers(folder.path(), "-rpt", said), ("\0".repeat(9), 0));
        let (d, f) = (fs::metadata(folder.path().join("d")).unwrap(), fs::metadata(folder.path().join("d/f")).unwrap());
        assert_eq!((d.mode() & 0o7777, d.mtime()), (0o500, 7));
        assert_eq!((f.mode() & 0o7777, f.mtime(), f.atime(), f.len()), (0o400, 5, 6, 3));
        assert_eq!(fs::metadata(folder.path().join("d/empty")).unwrap().len(), 0);
        // As in a second copy: what is there is filled anew.
        fs::set_permissions(folder.path().join("d"), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(answers(folder.path(), "-rt", b"D0755 0 d\nC0644 1 g\nx\0E\n"), ("\0".repeat(5), 0));
        fs::set_permissions(folder.path().join("d/f"), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(answers(&folder.path().join("d/f"), "-t", b"C0600 1 other\ny\0"), ("\0".repeat(3), 0));
        assert_eq!(fs::read(folder.path().join("d/f")).unwrap(), b"y");
    }

    #[test]
    fn what_cannot_be_written_is_told_and_the_next_is_received() {
        let folder = folder();
        fs::create_dir(folder.path().join("taken")).unwrap();
        let (said, status) = answers(folder.path(), "-t", b"C0644 1 taken\nC0644 2 next\nab\0");
        assert!(said.starts_with("\0\x01scp: ") && said.ends_with("taken: Is a directory\n\0\0"), "{said:?}");
        assert_eq!((fs::read(folder.path().join("next")).unwrap(), status), (b"ab".to_vec(), 1));
    }

    #[test]
    fn a_full_disk_is_told_once_all_has_come() {
        let (said, status) = answers(Path::new("/dev/full"), "-t", b"C0644 3 f\nabc\0C0644 0 g\n\0");
        assert_eq!(said, "\0\0\x01scp: /dev/full: No space left on device\n\0\0");
        assert_eq!(status, 1);
    }

    /// Regression: a file that the disk did not take was told as copied.
    #[test]
    fn what_only_the_close_tells_not_to_be_written_is_told() {
        let folder = folder();
        let mut said = Vec::new();
        let mut peer = Peer::new(&b"C0644 1 f\nx\0C0644 1 g\ny\0"[..], &mut said);
        receive(&mut peer, folder.path(), Options::default(), |_| Err(io::Error::other("no room"))).unwrap();
        assert_eq!(peer.finish(Ok(())), 1);
        let told = |name: &str| format!("\x01scp: {}: no room\n", folder.path().join(name).display());
        assert_eq!(String::from_utf8(said).unwrap(), format!("\0\0{}\0{}", told("f"), told("g")));
    }

    #[test]
    fn more_than_32_bits_can_count_is_received() {
        let size: u64 = (4 << 30) + 3;
        let record = format!("C0644 {size} f\n");
        let said = record.as_bytes().chain(io::repeat(0).take(size + 1)).chain(&b"C0644 1 g\nx\0"[..]);
        let mut answers = Vec::new();
        let status = crate::agent::scp(&["-t", "/dev/null"].map(Into::into), said, &mut answers);
        assert_eq!((answers, status), (vec![0; 5], 0));
    }

    #[test]
    fn a_folder_is_one_when_it_has_to_be() {
        let folder = folder();
        for (target, why) in [("nowhere", "No such file or directory"), ("file", "not a directory")] {
            fs::write(folder.path().join("file"), "").unwrap();
            let (said, status) = answers(&folder.path().join(target), "-dt", b"C0644 0 f\n\0");
            assert!(said.starts_with("\x02scp: ") && said.contains(why) && status == 1, "{said:?}");
        }
    }

    #[test]
    fn who_breaks_the_rules_is_told_and_heard_no_more() {
        let folder = folder();
        let cases: [&[u8]; 5] = [b"D0755 0 d\n", b"E\n", b"C0644 9x f\n", b"C0644 1 ../f\n", b"C0644 1 f\nab"];
        for said in cases {
            let (said, status) = answers(folder.path(), "-t", said);
            assert!(said.contains("\x02scp: protocol error") && status == 1, "{said:?}");
        }
        for said in [&b"C0644 5 f\nab"[..], b"C0644 5 f\nabcde", b"C0644 5"] {
            let (said, status) = answers(folder.path(), "-t", said);
            assert!(said.bytes().all(|byte| byte == 0) && status == 1, "{said:?}");
        }
    }
}
