//! The binary on a laptop.

use std::process::ExitCode;

fn main() -> ExitCode {
    bastion::devctl::laptop::main()
}
