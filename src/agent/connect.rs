//! `bastion-agent connect`: what the bastion runs by exec to reach the server.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::socket;

/// A server that has just been started, or started again, listens within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hands stdin and stdout to the server, and returns when it is done with them.
pub fn connect() -> io::Result<()> {
    let path = socket::path()?;
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match socket::connect(&path) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if !socket::is_own_users(&stream) {
        return Err(io::Error::other("the socket is another user's"));
    }
    socket::send_files(&stream, [io::stdin().as_fd(), io::stdout().as_fd()])?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
