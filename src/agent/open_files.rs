//! How many files may be open. One process serves all connections and programs of a pod, each of which would have an
//! sshd of its own; so it takes the room that there is, and connections leave some of it to sessions.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// More are of no use, and some programs look at each that there may be.
const ENOUGH: u64 = 65_536;
/// What connections leave to sessions, which need some each; of few files a quarter.
const RESERVE: u64 = 64;

/// How many this process was given at first.
static GIVEN: OnceLock<Option<u64>> = OnceLock::new();

/// Takes as many as it may have.
pub(super) fn take_room() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    GIVEN.get_or_init(|| current);
    let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

/// Lets a program that has just begun have what it would have had: some cannot cope with more (select(2)).
pub(super) fn give_back(program: Pid) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Some(&Some(given)) = GIVEN.get()
        && current.is_none_or(|current| given < current)
    {
        let _ = prlimit(Some(program), Resource::Nofile, Rlimit { current: Some(given), maximum });
    }
}

/// How many this process may have.
pub(super) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether there is room for a connection.
pub(super) fn room() -> io::Result<()> {
    // The kernel gives the lowest number that is free.
    let next = fcntl_dupfd_cloexec(io::stderr(), 0)?;
    match is_reserved(next.as_raw_fd().unsigned_abs().into(), limit()) {
        true => Err(Errno::MFILE.into()),
        false => Ok(()),
    }
}

fn is_reserved(number: u64, limit: u64) -> bool {
    number >= limit - RESERVE.min(limit / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_reserved() {
        for (limit, first) in [(1024, 960), (256, 192), (64, 48), (u64::MAX, u64::MAX - 64)] {
            assert!(!is_reserved(first - 1, limit) && is_reserved(first, limit), "{limit}");
        }
        assert!(is_reserved(0, 0));
        room().unwrap();
    }
}
