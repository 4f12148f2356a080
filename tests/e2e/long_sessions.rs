//! Sessions that last: they survive the change of keys and the limits of those in between.

use std::time::Duration;

use crate::harness::{Flood, Input, Product, Server, Ssh, heavy, is_real, keygen, skip_unless};

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

/// The kubelet's limit is 4 h; here it is 3 s, and pings do not count.
#[tokio::test]
async fn an_idle_session_outlives_the_idle_limit_of_the_kubelet() {
    skip_unless!(!is_real(), "the real kubelet's limit is not ours to shorten");
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let key = keygen(folder.path(), "key", "ed25519");
    let data = folder.path().join("data");
    let user = format!("alice={}.pub", key.display());
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--data", data.to_str().expect("plain"), "--user", &user];
    let mut server = Server::start(&arguments, |command| {
        command.env("BASTION_DEV__EXEC_IDLE_TIMEOUT", "3s").env("BASTION_WORKSPACE__EXEC_KEEPALIVE", "1s");
    });
    let alice = Ssh::to_dev(&server.ready().await, "alice").key(&key);
    let mut idle = alice.command("while read line; do echo \"heard $line\"; done").input(Input::Held).start();
    idle.types("one\n").await;
    idle.prints("heard one\n").await;
    let mut terminal = Ssh::to_dev(&server.ready().await, "alice").key(&key).terminal(24, 80);
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
