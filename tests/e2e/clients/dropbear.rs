//! `dbclient`, the client of routers and small systems.

use super::{COMMAND, alice, bytes, forwards};
use crate::harness::{Laptop, has_agents, is_installed, skip_unless};

async fn with_key(laptop: &Laptop) {
    laptop.run("dropbearconvert", &["openssh", "dropbear", "key", "dropbear-key"]).await.exits(0);
}

#[tokio::test]
async fn dropbear_runs_a_command() {
    skip_unless!(is_installed("dbclient") && is_installed("dropbearconvert"), "dropbear-bin is not installed");
    let (_product, _alice, laptop) = alice().await;
    with_key(&laptop).await;
    let host = format!("{}@127.0.0.1", laptop.login());
    let arguments = ["-i", "dropbear-key", "-p", &laptop.port(), &host, COMMAND];
    let ended = laptop.run_with("dbclient", &arguments, &bytes()).await;
    ended.exits(3).prints_bytes(&bytes()).says("not  out\n");
}

#[tokio::test]
async fn dropbear_forwards_a_port() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(is_installed("dbclient") && is_installed("dropbearconvert"), "dropbear-bin is not installed");
    let (_product, alice, laptop) = alice().await;
    with_key(&laptop).await;
    let (host, port) = (format!("{}@127.0.0.1", laptop.login()), laptop.port());
    let arguments =
        |forward: &str| ["-i", "dropbear-key", "-p", &port, "-N", "-L", forward, &host].map(str::to_owned).to_vec();
    forwards(&alice, &laptop, "dbclient", arguments).await;
}
