//! The pod's side of the carrier: runs what sessions ask for. Knows neither SSH nor Kubernetes, and has no power that
//! the container's user lacks.

mod account;
mod activity;
mod close;
mod connect;
mod forward;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod hang_up;
mod init;
mod install;
mod ledger;
mod memory;
mod open_files;
mod piece;
mod pipe;
mod place;
mod program;
pub mod request;
mod said;
mod scp;
mod server;
mod sftp;
mod socket;
mod startup;
pub mod usage;

pub use connect::connect;
pub use init::init;
pub use install::install;
pub use place::PROGRAM;
pub use scp::{SCP, scp};
pub use server::serve;
pub use sftp::serve as sftp;
pub(crate) use sftp::{codes as sftp_codes, wire as sftp_wire};
pub use startup::{SCRIPT_VARIABLE, started};
