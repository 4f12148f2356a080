//! `ssh -J alice@bastion mydev`: as if there were an sshd in the pod.

use std::fs;

use crate::harness::{Flood, Input, Product, keygen};

#[tokio::test]
async fn a_devserver_is_a_host_with_a_key_that_lasts() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.add_devserver("second").await;
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let full_name = format!("second.{}", alice.name());
    for host in ["second", &full_name, "dev", "localhost"] {
        let jump = alice.ssh("cat; echo in; exit 3").jump(host, alice.key(), &known_hosts);
        jump.input(Input::Bytes("carried ".into())).run().await.exits(3).prints("carried in\n");
    }
    let key = |host: &str| {
        let lines = fs::read_to_string(&known_hosts).expect("ssh wrote it");
        let line = lines.lines().find(|line| line.split(' ').next() == Some(host)).expect("it knows the host");
        line.split(' ').next_back().expect("a key").to_owned()
    };
    assert_eq!(key("second"), key(&full_name));
    assert_eq!(key("dev"), key("localhost"));
    assert_ne!(key("dev"), key("second"));
}

#[tokio::test]
async fn replicas_are_the_same_host() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    for _ in 0..2 {
        let replica = product.serve(&[]).await;
        alice.is_known_at(&replica).await;
        let jump = alice.ssh_at(&replica, "echo in").jump("dev", alice.key(), &known_hosts);
        jump.run().await.exits(0).prints("in\n");
    }
    let lines = fs::read_to_string(&known_hosts).expect("ssh wrote it");
    assert_eq!(lines.lines().count(), 1, "{lines}");
}

#[tokio::test]
async fn everything_works_through_a_jump() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let jump = |command: &str| alice.ssh(command).jump("dev", alice.key(), &known_hosts);
    // That of the laptop, and of the bastion.
    let told = jump("echo $SSH_CONNECTION").run().await.exits(0).text();
    let words: Vec<&str> = told.split_whitespace().collect();
    let port = product.front().port().to_string();
    assert!(matches!(words[..], ["127.0.0.1", _, "127.0.0.1", own] if own == port), "{told}");
    let flood = Flood::bytes(7, 30_000_000);
    let upload = jump("sha256sum | cut -c1-64").input(Input::Flood(flood.clone())).run().await;
    upload.exits(0).prints(&format!("{}\n", flood.sha256()));
    let mut terminal = alice.shell().jump("dev", alice.key(), &known_hosts).terminal(30, 100);
    terminal.types("stty size; exit\n").await;
    terminal.shows("30 100").await;
    terminal.exits(0).await;
}

#[tokio::test]
async fn who_jumps_has_to_be_the_same_person() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let stranger = keygen(product.folder(), &format!("{}-stranger", alice.name()), "ed25519");
    for key in [bob.key(), &stranger] {
        alice.ssh("echo in").jump("dev", key, &known_hosts).run().await.exits(255).says("Permission denied").prints("");
    }
    let nowhere = alice.ssh("echo in").jump("nope", alice.key(), &known_hosts);
    nowhere.run().await.exits(255).says("you have no DevServer `nope`");
}
