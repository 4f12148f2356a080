//! Files that are plain lists of public keys, one a line: trusted authorities, revoked keys. Read at each login, so a
//! change holds at once.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use russh::keys::PublicKey;

/// Why the keys in a file are not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is over 1 MiB long", path.display())]
    TooLong { path: PathBuf },
    #[error("{} is a KRL; only a plain list of keys is understood", path.display())]
    Krl { path: PathBuf },
    #[error("{}: line {line} is no public key", path.display())]
    NoKey { path: PathBuf, line: usize },
}

pub(super) const MAX_SIZE: u64 = 1024 * 1024;

/// The keys in `path`, all or none.
pub(super) fn read(path: &Path) -> Result<Vec<PublicKey>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    read.map_err(|source| Error::Read { path: path.into(), source })?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(Error::TooLong { path: path.into() });
    }
    if bytes.starts_with(b"SSHKRL\n\0") {
        return Err(Error::Krl { path: path.into() });
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(line, text)| PublicKey::from_openssh(text).map_err(|_| Error::NoKey { path: path.into(), line }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn read_text(text: &[u8]) -> Result<Vec<PublicKey>, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn keys_are_read_past_comments() {
        assert_eq!(read_text(format!("# ours\n\n{KEY} ca\n").as_bytes()).unwrap().len(), 1);
        assert!(read_text(b"").unwrap().is_empty());
    }

    #[test]
    fn a_list_that_is_not_understood_is_no_list() {
        assert!(matches!(read_text(format!("{KEY}\nserial: 7\n").as_bytes()), Err(Error::NoKey { line: 2, .. })));
        assert!(matches!(read_text(b"SSHKRL\n\0\0\0\0\x01"), Err(Error::Krl { .. })));
        assert!(matches!(read_text(&vec![b'#'; 1024 * 1024 + 1]), Err(Error::TooLong { .. })));
        assert!(matches!(read(Path::new("/nonexistent/keys")), Err(Error::Read { .. })));
    }
}
