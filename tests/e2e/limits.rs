//! What strangers and guests may not take.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Master, Product, Replica, Ssh, eventually, skip_unless, within};

async fn connect(replica: &Replica) -> TcpStream {
    TcpStream::connect(("127.0.0.1", replica.port())).await.expect("it listens")
}

/// How long it takes until the other side hangs up.
async fn is_dropped(mut stream: TcpStream, start: Instant) -> Duration {
    let mut buffer = vec![0; 4096];
    let ends = async { while let Ok(1..) = stream.read(&mut buffer).await {} };
    within(Duration::from_secs(60), "the connection is dropped", ends).await;
    start.elapsed()
}

#[tokio::test]
async fn a_client_that_does_not_log_in_is_dropped() {
    let product = Product::shared().await;
    let replica = product.serve(&["ssh.login_grace_time=6s"]).await;
    let start = Instant::now();
    let silent = connect(&replica).await;
    let mut greeted = connect(&replica).await;
    greeted.write_all(b"SSH-2.0-Silent\r\n").await.expect("it reads");
    let mut garbled = connect(&replica).await;
    garbled.write_all(b"SSH-2.0-Garbled\r\n\x00\x00\x7f\x00").await.expect("it reads");
    let (silent, greeted) = tokio::join!(is_dropped(silent, start), is_dropped(greeted, start));
    for took in [silent, greeted] {
        assert!(took > Duration::from_millis(5800), "dropped after {took:?}");
    }
    is_dropped(garbled, start).await;
}

#[tokio::test]
async fn a_user_who_is_logged_in_is_not_dropped() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let replica = product.serve(&["ssh.login_grace_time=6s"]).await;
    alice.ssh_at(&replica, "sleep 8; echo still").run().await.exits(0).prints("still\n");
}

#[tokio::test]
async fn connections_that_do_not_log_in_are_limited() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let replica = product.serve(&["ssh.max_startups_per_source=3", "ssh.max_startups=8"]).await;
    alice.ssh_at(&replica, "true").run().await.exits(0);
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&replica).await;
        let mut banner = [0; 8];
        within(Duration::from_secs(10), "a banner", stream.read_exact(&mut banner)).await.expect("it speaks");
        assert_eq!(&banner, b"SSH-2.0-");
        silent.push(stream);
    }
    let start = Instant::now();
    let fourth = is_dropped(connect(&replica).await, start).await;
    assert!(fourth < Duration::from_secs(20), "refused only after {fourth:?}");
    drop(silent);
    eventually("those who log in get in again", async || {
        (alice.ssh_at(&replica, "echo in").run().await.text() == "in\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_of_one_user_are_limited() {
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let replica = product.serve(&["ssh.max_connections_per_user=1"]).await;
    let first = alice.ssh_at(&replica, "echo up; sleep 98552").start();
    first.prints("up\n").await;
    let second = alice.ssh_at(&replica, "echo in").run().await;
    second.exits(255).prints("").says("too many connections: you have 1 open already");
    bob.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
    first.kill().await;
    eventually("there is room again", async || {
        (alice.ssh_at(&replica, "echo in").run().await.text() == "in\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_on_a_connection_are_limited() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let replica = product.serve(&["ssh.max_sessions=2"]).await;
    let master = Master::start(alice.shell_at(&replica)).await;
    let first = master.ssh("echo up; sleep 98550").start();
    let second = master.ssh("echo up; sleep 98551").start();
    first.prints("up\n").await;
    second.prints("up\n").await;
    let third = master.ssh("echo third").run().await;
    third.fails().prints("");
    first.kill().await;
    eventually("there is room again", async || {
        (master.ssh("echo fourth").run().await.text() == "fourth\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_not_offered_is_refused_and_the_session_goes_on() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.ssh("echo in").argument("-A").argument("-X").run().await.exits(0).prints("in\n");
    alice.shell().argument("-s").command("no-such-subsystem").run().await.fails().prints("");
}

/// Of an old client, `ssh` itself makes one: it offers what was usual years ago.
#[tokio::test]
async fn only_modern_algorithms_are_spoken() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let refused = [
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "Ciphers=aes128-cbc,3des-cbc",
        "MACs=hmac-sha1",
        "PubkeyAcceptedAlgorithms=ssh-rsa",
    ];
    for option in refused {
        let with = |ssh: Ssh| if option.starts_with("MACs") { ssh.option("Ciphers=aes256-ctr") } else { ssh };
        with(alice.ssh("echo in").option(option)).run().await.exits(255).prints("");
    }
    alice.ssh("echo in").option("KexAlgorithms=curve25519-sha256").run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn nothing_is_compressed_whatever_the_client_prefers() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let spoken = alice.ssh("echo in").argument("-C").argument("-v").run().await;
    spoken.exits(0).prints("in\n");
    let agreed: Vec<&str> = spoken.stderr().lines().filter(|line| line.contains(" compression: ")).collect();
    let is_off = |line: &&str| line.trim_end().ends_with(" compression: none");
    assert!(agreed.len() == 2 && agreed.iter().all(is_off), "in each direction: {agreed:?} in {}", spoken.stderr());
}

#[tokio::test]
async fn ssh_audit_finds_nothing_to_fail_or_to_warn_of() {
    let program = std::env::var("BASTION_TEST_SSH_AUDIT").unwrap_or_else(|_| "ssh-audit".to_owned());
    let there = Command::new(&program).arg("--help").output().is_ok();
    skip_unless!(there, "ssh-audit is not installed");
    let product = Product::shared().await;
    let port = product.front().port().to_string();
    let output = Command::new(&program).args(["--no-colors", "-p", &port, "127.0.0.1"]).output().expect("it is there");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(report.contains("mlkem768x25519-sha256"), "{report}");
    let bad: Vec<&str> = report.lines().filter(|line| line.contains("[fail]") || line.contains("[warn]")).collect();
    // An old ssh-audit does not know what is new.
    let known =
        |line: &&&str| ["curve25519", "post-quantum", "unknown algorithm"].iter().any(|known| line.contains(known));
    let unexpected: Vec<_> = bad.iter().filter(|line| !known(line)).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?} in\n{report}");
}
