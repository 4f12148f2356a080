//! What requests do to files.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, StatVfs, Timespec, Timestamps, Uid, chmod, chownat, fchmod, fchown,
    fstatvfs, futimens, openat, renameat_with, statvfs, utimensat,
};
use rustix::io::Errno;

use super::codes::fxf;
use super::wire::Attributes;

/// What is copied at once, in bytes.
const PIECE: usize = 256 * 1024;

/// The flags of an open request (§6.3).
pub(super) fn open(path: &Path, flags: u32, attributes: &Attributes) -> io::Result<File> {
    let has = |flag: u32| flags & flag != 0;
    let (read, write) = (has(fxf::READ), has(fxf::WRITE));
    let mut open = match (read, write) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        _ => OFlags::RDONLY,
    };
    let further = [
        (fxf::APPEND, OFlags::APPEND),
        (fxf::CREAT, OFlags::CREATE),
        (fxf::TRUNC, OFlags::TRUNC),
        (fxf::EXCL, OFlags::EXCL),
    ];
    for (flag, means) in further {
        if has(flag) {
            open |= means;
        }
    }
    let mode = Mode::from_raw_mode(attributes.permissions.unwrap_or(0o666) & 0o7777);
    Ok(openat(CWD, path, open | OFlags::CLOEXEC | OFlags::NOCTTY, mode)?.into())
}

pub(super) fn attributes(metadata: &Metadata) -> Attributes {
    let seconds = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
    Attributes {
        size: Some(metadata.size()),
        owner: Some((metadata.uid(), metadata.gid())),
        permissions: Some(metadata.mode()),
        times: Some((seconds(metadata.atime()), seconds(metadata.mtime()))),
    }
}

/// `follow`: what a symbolic link points to, else the link itself.
pub(super) fn set(path: &Path, attributes: &Attributes, follow: bool) -> io::Result<()> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    all([
        attributes.size.map(|size| if follow { truncate(path, size) } else { Err(Errno::INVAL.into()) }),
        attributes
            .owner
            .map(|(uid, gid)| Ok(chownat(CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?)),
        attributes.permissions.map(|mode| match follow || !fs::symlink_metadata(path)?.is_symlink() {
            true => Ok(chmod(path, Mode::from_raw_mode(mode & 0o7777))?),
            false => Err(Errno::OPNOTSUPP.into()), // No system has modes of links.
        }),
        attributes.times.map(|times| Ok(utimensat(CWD, path, &timestamps(times), flags)?)),
    ])
}

/// As truncate(2), which opens nothing: a pipe would wait for a reader.
fn truncate(path: &Path, size: u64) -> io::Result<()> {
    Ok(nix::unistd::truncate(path, i64::try_from(size).map_err(|_| Errno::INVAL)?)?)
}

/// The first error. What else was asked is done all the same, as by OpenSSH's server: whoever may not give a file away
/// still sets its mode.
fn all(done: [Option<io::Result<()>>; 4]) -> io::Result<()> {
    done.into_iter().flatten().fold(Ok(()), io::Result::and)
}

pub(super) fn set_open(file: &File, attributes: &Attributes) -> io::Result<()> {
    all([
        attributes.size.map(|size| file.set_len(size)),
        attributes.owner.map(|(uid, gid)| Ok(fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)),
        attributes.permissions.map(|mode| Ok(fchmod(file, Mode::from_raw_mode(mode & 0o7777))?)),
        attributes.times.map(|times| Ok(futimens(file, &timestamps(times))?)),
    ])
}

fn timestamps((accessed, changed): (u32, u32)) -> Timestamps {
    let at = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    Timestamps { last_access: at(accessed), last_modification: at(changed) }
}

/// Never over something that exists; file systems that cannot promise that get a link and an unlink.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => rename_unpromised(from, to, |from, to| fs::hard_link(from, to)),
        renamed => Ok(renamed?),
    }
}

/// As OpenSSH's server: where there are no links either, with a look before.
fn rename_unpromised(from: &Path, to: &Path, link: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    if fs::symlink_metadata(from)?.is_file() {
        match link(from, to) {
            Ok(()) => return fs::remove_file(from).inspect_err(|_| drop(fs::remove_file(to))),
            Err(why) if has_no_links(&why) => {}
            Err(why) => return Err(why),
        }
    }
    match fs::symlink_metadata(to) {
        Ok(_) => Err(Errno::EXIST.into()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(why) => Err(why),
    }
}

/// Whether it says that links cannot be had there, or no more of them, and not that this one may not be made.
fn has_no_links(why: &io::Error) -> bool {
    let why = why.raw_os_error().map(Errno::from_raw_os_error);
    matches!(why, Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV | Errno::MLINK))
}

/// The absolute path without links; the last part need not exist.
pub(super) fn real_path(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(fs::canonicalize(parent)?.join(name))
        }
        found => found,
    }
}

/// Copies within the pod; a length of 0 is to the end. Not within one file, as OpenSSH: its end might be out of reach.
pub(super) fn copy(from: &File, mut offset: u64, length: u64, to: &File, mut at: u64) -> io::Result<()> {
    let (source, target) = (from.metadata()?, to.metadata()?);
    if (source.dev(), source.ino()) == (target.dev(), target.ino()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file cannot be copied to itself"));
    }
    let mut left = if length == 0 { u64::MAX } else { length };
    let mut buffer = vec![0; PIECE];
    while left > 0 {
        let piece = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        let read = from.read_at(&mut buffer[..piece], offset)?;
        if read == 0 {
            break;
        }
        to.write_all_at(&buffer[..read], at)?;
        (offset, at, left) = (offset + read as u64, at + read as u64, left - read as u64);
    }
    Ok(())
}

/// The eleven fields of statvfs@openssh.com (OpenSSH PROTOCOL §4.4).
pub(super) fn file_system(path: &Path) -> io::Result<[u64; 11]> {
    Ok(fields(&statvfs(path)?))
}

/// The same for fstatvfs@openssh.com.
pub(super) fn file_system_of(file: &File) -> io::Result<[u64; 11]> {
    Ok(fields(&fstatvfs(file)?))
}

fn fields(found: &StatVfs) -> [u64; 11] {
    let blocks = [found.f_bsize, found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail];
    let rest = [found.f_files, found.f_ffree, found.f_favail, found.f_fsid, found.f_flag.bits() & 3, found.f_namemax];
    std::array::from_fn(|n| *blocks.iter().chain(&rest).nth(n).expect("eleven in all"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: the server waited for somebody to read the pipe, and with it all of the session.
    #[test]
    fn a_pipe_has_no_size_and_all_else_is_set_that_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, link] = ["pipe", "link"].map(|name| folder.path().join(name));
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::os::unix::fs::symlink("pipe", &link).unwrap();
        let asked = Attributes { size: Some(0), permissions: Some(0o640), times: Some((7, 9)), owner: None };
        let code = |result: io::Result<()>| result.unwrap_err().raw_os_error().map(Errno::from_raw_os_error);
        assert_eq!(code(set(&pipe, &asked, true)), Some(Errno::INVAL));
        let changed = fs::metadata(&pipe).unwrap();
        assert_eq!((changed.mode() & 0o7777, changed.atime(), changed.mtime()), (0o640, 7, 9));
        let of_link = Attributes { permissions: Some(0o600), ..Attributes::default() };
        assert_eq!(code(set(&link, &of_link, false)), Some(Errno::OPNOTSUPP));
        assert_eq!(code(set(&link, &Attributes { size: Some(0), ..Attributes::default() }, false)), Some(Errno::INVAL));
        assert_eq!(fs::metadata(&pipe).unwrap().mode() & 0o7777, 0o640);
    }

    /// Whoever uploads under another name first, as many clients do, failed at the last step.
    #[test]
    fn files_are_renamed_where_there_are_no_links() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let no_links = |_: &Path, _: &Path| Err(Errno::PERM.into());
        fs::write(&one, "data").unwrap();
        rename_unpromised(&one, &two, no_links).unwrap();
        assert_eq!(fs::read(&two).unwrap(), b"data");
        fs::write(&one, "other").unwrap();
        let is_there = rename_unpromised(&one, &two, no_links).unwrap_err();
        assert_eq!(is_there.kind(), io::ErrorKind::AlreadyExists);
        let is_full = rename_unpromised(&one, &folder.path().join("new"), |_, _| Err(Errno::NOSPC.into()));
        assert_eq!(is_full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        rename_unpromised(&one, &two, |from, to| fs::hard_link(from, to)).unwrap_err();
        assert_eq!((fs::read(&one).unwrap(), fs::read(&two).unwrap()), (b"other".to_vec(), b"data".to_vec()));
    }

    /// Regression: such a copy read what it had just written, until the disk was full.
    #[test]
    fn a_file_is_not_copied_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            File::options().read(true).write(true).create(true).truncate(false).open(folder.path().join(name)).unwrap()
        };
        fs::write(folder.path().join("one"), "data").unwrap();
        assert!(copy(&open("one"), 0, 0, &open("one"), 1).is_err());
        copy(&open("one"), 1, 0, &open("two"), 2).unwrap();
        assert_eq!(fs::read(folder.path().join("two")).unwrap(), b"\0\0ata");
    }
}
