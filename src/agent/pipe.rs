//! How much a pipe holds.

use std::os::fd::AsFd;

use rustix::pipe::fcntl_setpipe_size;

/// Lets `pipe` hold `bytes`. Above the user's limit for pipes that is refused; then it holds the usual 64 KiB.
pub(super) fn widen(pipe: impl AsFd, bytes: usize) {
    let _ = fcntl_setpipe_size(pipe, bytes);
}
