//! Clients other than OpenSSH's, each with what it can do: commands, files, forwards. A machine that lacks one skips
//! it.

mod ansible;
mod dropbear;
mod files;
mod git;
mod go;
mod putty;
mod python;
mod rsync;

use std::time::Duration;

use crate::forwards::{connect, exchange, shouts};
use crate::harness::{Laptop, Product, User, free_port, within};

/// What commands are fed: each byte there is, and more of it than one packet or window takes.
fn bytes() -> Vec<u8> {
    (0..=u8::MAX).cycle().take(3_000_001).collect()
}

/// Gives back its input, and is recognised by what else it does.
const COMMAND: &str = "cat; echo \"not  out\" >&2; exit 3";

async fn alice() -> (Product, User, Laptop) {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let laptop = Laptop::new(&alice, product.front());
    (product, alice, laptop)
}

/// A client that is told by `arguments` to forward a port of the laptop to one of the pod does so.
async fn forwards(alice: &User, laptop: &Laptop, program: &str, arguments: impl Fn(&str) -> Vec<String>) {
    let (here, there) = (free_port(), free_port());
    let _server = shouts(alice, &there.to_string()).await;
    let arguments = arguments(&format!("{here}:127.0.0.1:{there}"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let _client = laptop.start(program, &arguments);
    let text = b"by its own forward ".repeat(100_000);
    let answer = within(Duration::from_secs(60), "the answer", exchange(connect(here).await, &text)).await;
    assert!(answer == text.to_ascii_uppercase(), "{} other bytes", answer.len());
}
