//! Sessions that last: they survive the change of keys and the limits of those in between.

use std::time::Duration;

use crate::harness::{Flood, Input, Product, Server, Ssh, heavy, is_real, keygen, skip_unless};
use crate::no_agent::Bare;

#[tokio::test]
async fn two_hundred_megabytes_each_way_survive_a_key_exchange_each_mebibyte() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let _turn = heavy().await;
    let flood = Flood::bytes(11, 200_000_000);
    let cat = alice.ssh("cat").option("RekeyLimit=1M").input(Input::Flood(flood.clone())).hashed();
    cat.limit(Duration::from_secs(180)).run().await.exits(0).prints_flood(&flood);
}

/// The kubelet's limit is 4 h; here it is 3 s.
const IDLE_LIMIT: (&str, &str) = ("BASTION_DEV__EXEC_IDLE_TIMEOUT", "3s");

/// WebSocket pings do not count; an agent's do, as they are data to all between.
#[tokio::test]
async fn an_idle_session_outlives_the_idle_limit_of_the_kubelet() {
    skip_unless!(!is_real(), "the real kubelet's limit is not ours to shorten");
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let key = keygen(folder.path(), "key", "ed25519");
    let data = folder.path().join("data");
    let user = format!("alice={}.pub", key.display());
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--data", data.to_str().expect("plain"), "--user", &user];
    let mut server = Server::start(&arguments, |command| {
        let variables = [IDLE_LIMIT, ("BASTION_WORKSPACE__EXEC_PING", "1s"), ("BASTION_LOG__FILTER", "bastion=debug")];
        command.envs(variables);
    });
    let ready = server.ready().await;
    stays_idle_for_long(|| Ssh::to_dev(&ready, "alice").key(&key)).await;
    let log = server.log();
    assert!(!log.contains("the carrier broke"), "{log}");
}

#[tokio::test]
async fn without_an_agent_it_outlives_it_by_data_that_means_nothing() {
    skip_unless!(!is_real(), "the real kubelet's limit is not ours to shorten");
    let bare = Bare::starts_with(&[IDLE_LIMIT, ("BASTION_WORKSPACE__EXEC_KEEPALIVE", "1s")]).await;
    stays_idle_for_long(|| bare.ssh()).await;
}

async fn stays_idle_for_long(ssh: impl Fn() -> Ssh) {
    let mut idle = ssh().command("while read line; do echo \"heard $line\"; done").input(Input::Held).start();
    idle.types("one\n").await;
    idle.prints("heard one\n").await;
    let mut terminal = ssh().terminal(24, 80);
    terminal.types("echo $((40+2))\r").await;
    terminal.shows_row("42").await;
    // Nothing is waited for: that nothing happens for so long is what this is about.
    tokio::time::sleep(Duration::from_secs(8)).await;
    idle.types("two\n").await;
    idle.prints("heard two\n").await;
    idle.closes_stdin();
    idle.finish().await.exits(0);
    terminal.types("echo $((40+3))\r").await;
    terminal.shows_row("43").await;
}
