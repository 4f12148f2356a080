//! `devctl version`.

use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        caller.print(concat!("devctl ", env!("CARGO_PKG_VERSION"), "\n")).await;
        Ok(())
    }
}
