//! What reads the words of others, fed with any bytes: one function for each reader, which panics if the reader does
//! not hold what it promises. They stand beside what they test. Unit tests run each for a moment (`driver`),
//! `scripts/fuzz` for as long as one likes, under libFuzzer (`tests/fuzz`) where that can be had.

#[cfg(test)]
mod driver;
#[cfg(test)]
mod mutation;

pub use crate::agent::fuzz::{request as agent_request, sftp};
pub use crate::carrier::fuzz::{frame as carrier_frame, link as carrier_link};
pub use crate::identity::fuzz::{authorized_keys, certificate};
pub use crate::ssh::fuzz::{greeting, proxy_protocol};
pub use crate::workspace::fuzz::exec_frame;

/// One for each target and of its name, which `scripts/fuzz` runs it by.
#[cfg(test)]
mod tests {
    use super::driver::run;
    use crate::{agent, carrier, identity, ssh, workspace};

    #[test]
    fn agent_request() {
        run("agent_request", super::agent_request, &agent::fuzz::seeds::requests());
    }

    #[test]
    fn authorized_keys() {
        run("authorized_keys", super::authorized_keys, &identity::fuzz::seeds::authorized_keys());
    }

    #[test]
    fn carrier_frame() {
        run("carrier_frame", super::carrier_frame, &carrier::fuzz::seeds::frames());
    }

    #[test]
    fn carrier_link() {
        run("carrier_link", super::carrier_link, &carrier::fuzz::seeds::links());
    }

    #[test]
    fn certificate() {
        run("certificate", super::certificate, &identity::fuzz::seeds::certificates());
    }

    #[test]
    fn exec_frame() {
        run("exec_frame", super::exec_frame, &workspace::fuzz::seeds::exec_frames());
    }

    #[test]
    fn greeting() {
        run("greeting", super::greeting, &ssh::fuzz::seeds::greetings());
    }

    #[test]
    fn proxy_protocol() {
        run("proxy_protocol", super::proxy_protocol, &ssh::fuzz::seeds::proxy_headers());
    }

    #[test]
    fn sftp() {
        run("sftp", super::sftp, &agent::fuzz::seeds::sftp());
    }
}
