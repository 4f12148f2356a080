//! `ssh -J alice@bastion mydev`: as if there were an sshd in the pod.

use std::fs;

use crate::harness::{Flood, Input, Product, eventually, keygen, processes_with_argument};

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

/// Regression: the proxy waited for a close that never came, and whoever read its stderr waited with it.
#[tokio::test]
async fn a_proxy_that_no_signal_ends_ends_with_the_connection_through_it() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let jump = |command: &str| alice.ssh(command).jump("dev", alice.key(), &known_hosts).proxy_under_nohup();
    let host = format!("{}@127.0.0.1", alice.name());
    let proxies = || processes_with_argument(&host).len();

    let killed = jump("echo up; sleep 98430").start();
    killed.prints("up\n").await;
    assert_eq!(proxies(), 1);
    killed.kill().await;
    eventually("the proxy of one that was killed ends", async || (proxies() == 0).then_some(())).await;

    jump("echo in; exit 3").run().await.exits(3).prints("in\n");
    eventually("the proxy of one that is over ends", async || (proxies() == 0).then_some(())).await;
}

/// The line alone: no key is learnt.
#[tokio::test]
async fn the_line_that_is_told_is_all_that_ssh_needs() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.add_devserver("second").await;
    let told = alice.ssh("devctl config").run().await;
    told.exits(0).says("known_hosts").says(&format!("ssh -J {}@", alice.name()));
    assert!(told.text().starts_with("@cert-authority ") && told.text().lines().count() == 1, "{}", told.text());
    let known_hosts = product.folder().join(format!("{}-told", alice.name()));
    fs::write(&known_hosts, told.text()).expect("the folder is ours");
    for host in ["second", &format!("second.{}", alice.name())] {
        let jump = alice.ssh("echo in").jump(host, alice.key(), &known_hosts);
        jump.run().await.exits(0).prints("in\n");
    }
    assert_eq!(fs::read_to_string(&known_hosts).expect("it is there"), told.text());
    alice.ssh("help").run().await.exits(0).prints_line("  config ");
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
