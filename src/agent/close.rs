//! The end of a file that was written. File systems that write behind (NFS, CIFS, CephFS, most of FUSE) tell only then,
//! and never again, that there was no room for it; a dropped [`File`] keeps that to itself.

use std::fs::File;
use std::io;

/// How a file is closed; a test's fails.
pub(super) type Close = fn(File) -> io::Result<()>;

/// Closes it and tells what close(2) says.
pub(super) fn close(file: File) -> io::Result<()> {
    Ok(nix::unistd::close(file)?)
}
