//! The agent's unix socket: where it is, who may come, and how a carrier's pipes are handed over.
//!
//! `bastion-agent connect` gives its stdin and stdout to the server and waits; no byte passes through it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::getuid;
use tokio::net::UnixListener;

/// Beside the agent's own file, in the volume that the pod's init container filled.
const NAME: &str = "agent.sock";

/// Where the server listens.
pub(super) fn path() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().unwrap_or(Path::new("/")).join(NAME))
}

/// Binds anew; the socket of a server that died is in the way.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    through_folder(path, |short| UnixListener::bind(short))
}

pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    through_folder(path, |short| UnixStream::connect(short))
}

/// A socket's address has at most 107 bytes, and a volume's path may be longer.
fn through_folder<T>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let folder = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    work(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(NAME))
}

/// Whether the process at the other end runs as the same user as this one.
pub(super) fn is_own_users(stream: &impl AsFd) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == getuid())
}

/// Hands two files over.
pub(super) fn send_files(stream: &UnixStream, files: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(stream, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// Takes the two files that were handed over.
pub(super) fn receive_files(stream: &impl AsFd) -> io::Result<[OwnedFd; 2]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    files.try_into().map_err(|_| io::Error::other("no pipes were handed over"))
}
