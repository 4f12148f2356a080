//! Sends files (`scp -f`).

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::sink::about;
use super::wire::{Failure, Peer};
use super::{Options, PIECE};

/// Sends what is at `paths`. Links are followed.
pub(super) fn send<R: BufRead, W: Write>(
    peer: &mut Peer<R, W>,
    paths: &[PathBuf],
    options: Options,
) -> Result<(), Failure> {
    peer.agrees()?;
    paths.iter().try_for_each(|path| one(peer, path, options))
}

fn one<R: BufRead, W: Write>(peer: &mut Peer<R, W>, path: &Path, options: Options) -> Result<(), Failure> {
    // Opened only if it is a file: there may be nobody at a pipe's other end.
    let sent = fs::metadata(path).and_then(|metadata| match metadata {
        metadata if metadata.is_file() => Ok((metadata, Some(File::open(path)?), Vec::new())),
        metadata if metadata.is_dir() && options.recursive => {
            let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
            Ok((metadata, None, entries))
        }
        _ => Err(io::Error::other("not a regular file")),
    });
    let (metadata, file, entries) = match sent {
        Ok(sent) => sent,
        Err(why) => return peer.warn(&about(path, &why)),
    };
    let name = path.file_name().unwrap_or(path.as_os_str());
    if name.as_bytes().contains(&b'\n') {
        return peer
            .warn(&format!("{}: this protocol has no line breaks in names; scp without -O has", path.display()));
    }
    if options.preserve && !peer.tell(times(&metadata).as_bytes())? {
        return Ok(());
    }
    let size = if file.is_some() { metadata.size() } else { 0 };
    let kind = if file.is_some() { 'C' } else { 'D' };
    if !peer.tell(&record(kind, metadata.mode(), size, name))? {
        return Ok(());
    }
    match file {
        Some(file) => data(peer, file, size, path),
        None => {
            entries.iter().try_for_each(|entry| one(peer, entry, options))?;
            peer.tell(b"E\n").map(drop)
        }
    }
}

/// Sends as many bytes as were announced, and what became of them.
fn data<R: BufRead, W: Write>(peer: &mut Peer<R, W>, mut file: File, size: u64, path: &Path) -> Result<(), Failure> {
    let mut read = Ok(());
    let mut piece = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let room = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        if read.is_ok() {
            read = fill(&mut file, &mut piece[..room]);
        }
        peer.output.write_all(&piece[..room])?;
        left -= room as u64;
    }
    match read {
        Ok(()) => peer.agree()?,
        Err(why) => peer.warn(&about(path, &why))?,
    }
    peer.agrees().map(drop)
}

/// What the file does not have is zero.
fn fill(file: &mut File, mut piece: &mut [u8]) -> io::Result<()> {
    while !piece.is_empty() {
        match file.read(piece) {
            Ok(read @ 1..) => piece = &mut piece[read..],
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            ended => {
                piece.fill(0);
                return Err(ended.err().unwrap_or_else(|| io::Error::other("it became shorter while it was sent")));
            }
        }
    }
    Ok(())
}

fn record(kind: char, mode: u32, size: u64, name: &OsStr) -> Vec<u8> {
    [format!("{kind}{:04o} {size} ", mode & 0o7777).as_bytes(), name.as_bytes(), b"\n"].concat()
}

fn times(metadata: &Metadata) -> String {
    format!("T{} 0 {} 0\n", metadata.mtime().max(0), metadata.atime().max(0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    /// What is sent to somebody who gives these answers, and the exit status.
    fn sent(flags: &str, paths: &[&Path], answers: impl Read) -> (String, u8) {
        let mut sent = Vec::new();
        let words: Vec<_> = std::iter::once(flags.into()).chain(paths.iter().map(Into::into)).collect();
        let status = crate::agent::scp(&words, answers, &mut sent);
        (String::from_utf8(sent).unwrap(), status)
    }

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/a b"), "abc").unwrap();
        for name in ["d/a b", "d"] {
            let file = File::open(folder.path().join(name)).unwrap();
            file.set_permissions(fs::Permissions::from_mode(0o750)).unwrap();
            let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            file.set_times(fs::FileTimes::new().set_modified(at(5_000_000_000)).set_accessed(at(7))).unwrap();
        }
        folder
    }

    #[test]
    fn a_tree_is_sent_with_times_and_modes() {
        for name in ["d", "d/", "link"] {
            let folder = tree();
            symlink("d", folder.path().join("link")).unwrap();
            let (sent, status) = sent("-rpf", &[&folder.path().join(name)], io::repeat(0));
            let (name, times) = (name.trim_end_matches('/'), "T5000000000 0 7 0\n");
            assert_eq!(sent, format!("{times}D0750 0 {name}\n{times}C0750 3 a b\nabc\0E\n"));
            assert_eq!(status, 0);
        }
    }

    #[test]
    fn what_cannot_be_sent_is_told_and_the_rest_is_sent() {
        let folder = tree();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("line\nbreak"), "").unwrap();
        let paths = [path("missing"), path("d"), path("line\nbreak"), path("d/a b")];
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let (sent, status) = sent("-f", &paths, io::repeat(0));
        let told: Vec<&str> = sent.lines().collect();
        assert!(told[0].starts_with("\x01scp: ") && told[0].contains("missing: No such file"), "{sent:?}");
        assert!(told[1].starts_with("\x01scp: ") && told[1].ends_with("/d: not a regular file"), "{sent:?}");
        assert!(told[2].starts_with("\x01scp: ") && told[2].contains("line break: "), "{sent:?}");
        assert_eq!((&told[3..], status), (&["C0750 3 a b", "abc\0"][..], 1));
    }

    #[test]
    fn a_file_that_shrinks_keeps_the_other_side_in_step() {
        let folder = tree();
        let path = folder.path().join("d/a b");
        let mut peer = Peer::new(&[0][..], Vec::new());
        assert!(data(&mut peer, File::open(&path).unwrap(), 5, &path).is_ok());
        let text = format!("abc\0\0\x01scp: {}: it became shorter while it was sent\n", path.display());
        assert_eq!(String::from_utf8(peer.output.clone()).unwrap(), text);
        assert_eq!(peer.finish(Ok(())), 1);
    }

    #[test]
    fn what_the_other_side_does_not_want_is_left_out() {
        let folder = tree();
        let (d, f) = (folder.path().join("d"), folder.path().join("d/a b"));
        assert_eq!(sent("-rf", &[&d, &f], &b"\0\x01no\n\0\0"[..]), ("D0750 0 d\nC0750 3 a b\nabc\0".to_owned(), 1));
        assert_eq!(sent("-rf", &[&d, &f], &b"\0\x02no\n"[..]), ("D0750 0 d\n".to_owned(), 1));
        assert_eq!(sent("-rf", &[&d, &f], &b""[..]), (String::new(), 1));
    }

    #[test]
    fn sizes_have_64_bits() {
        let folder = tree();
        let large = folder.path().join("large");
        File::create(&large).and_then(|file| file.set_len(5 << 30)).unwrap();
        assert!(sent("-f", &[&large], &b"\0\x02no\n"[..]).0.ends_with(" 5368709120 large\n"));
    }
}
