//! Many sessions on one connection: what one of them does delays no other.

use crate::harness::{Finished, Flood, Input, Master, Product, eventually, heavy};

/// Sessions of this connection come to their end, which a test then compares with another's, not with a clock.
async fn goes_on(master: &Master) {
    for _ in 0..3 {
        master.ssh("echo here").run().await.exits(0).prints("here\n");
    }
}

#[tokio::test]
async fn a_second_session_needs_no_second_login() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let master = Master::start(alice.shell()).await;
    master.ssh("echo one").run().await.exits(0).prints("one\n");
    master.ssh("echo two >&2; exit 3").run().await.exits(3).says_exactly("two\n");
}

#[tokio::test]
async fn ten_sessions_at_once_share_a_connection() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let master = Master::start(alice.shell()).await;
    let sessions = (0..10).map(|n| {
        let flood = Flood::bytes(n, 2_000_000);
        let ssh = master.ssh("cat").input(Input::Flood(flood.clone())).hashed();
        async move { (flood, ssh.run().await) }
    });
    let finished: Vec<(Flood, Finished)> = futures::future::join_all(sessions).await;
    for (flood, session) in finished {
        session.exits(0).prints_flood(&flood);
    }
}

/// A program that reads nothing held up each channel of its connection, as russh has one loop for all.
#[tokio::test]
async fn a_program_that_does_not_read_delays_nobody_and_loses_nothing() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let _turn = heavy().await;
    let master = Master::start(alice.shell()).await;
    let flood = Flood::bytes(3, 300_000_000);
    let stalled =
        master.ssh("until test -e go; do sleep 0.1; done; cat").input(Input::Flood(flood.clone())).hashed().start();
    eventually("the flood flows", async || (stalled.sent() > 1_000_000).then_some(())).await;
    goes_on(&master).await;
    assert!(stalled.stdout_is_empty(), "it was meant to stall meanwhile");
    master.ssh("touch go").run().await.exits(0);
    stalled.finish().await.exits(0).prints_flood(&flood);
}

/// The reply is fifty times the request; both directions are full at the same time.
#[tokio::test]
async fn an_amplifier_comes_to_its_end_and_delays_nobody() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let _turn = heavy().await;
    let master = Master::start(alice.shell()).await;
    let lines = Flood::lines(20_000_000);
    let mut amplifier = master.ssh("awk '{for(i=0;i<50;i++)print}'").input(Input::Flood(lines)).start();
    amplifier.prints("00007\n").await;
    goes_on(&master).await;
    assert!(amplifier.is_running(), "it was over before its neighbours were");
    amplifier.finish().await.exits(0).prints_count(1_000_000_000);
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody_and_loses_nothing() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let _turn = heavy().await;
    let master = Master::start(alice.shell()).await;
    let mut slow = master.ssh("yes | head -c 300000000; echo sent >&2").reads_later().start();
    goes_on(&master).await;
    goes_on(&master).await;
    assert!(slow.is_running() && !slow.stderr().contains("sent"), "it was meant to wait for its reader");
    slow.reads_on();
    slow.finish().await.exits(0).prints_count(300_000_000);
}

#[tokio::test]
async fn a_flood_that_nobody_reads_takes_no_memory() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut replica = product.serve(&["ssh.drain_timeout=2s"]).await;
    alice.ssh_at(&replica, "true").run().await.exits(0);
    let _turn = heavy().await;
    let before = replica.server().resident_mib();
    let flood = Flood::bytes(5, 1 << 30);
    let stalled = alice.ssh_at(&replica, "sleep 86399").input(Input::Flood(flood)).start();
    let sent = stalled.stalls().await;
    let after = replica.server().resident_mib();
    assert!(after < before + 150, "{before} MiB before, {after} MiB with {sent} bytes unread");
    stalled.kill().await;
}

#[tokio::test]
async fn a_session_that_is_killed_ends_alone() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let master = Master::start(alice.shell()).await;
    let mut stays = master.ssh("while read line; do echo \"heard $line\"; done").input(Input::Held).start();
    let goes = master.ssh("echo up; sleep 98770.1").start();
    let floods = master.ssh("yes 98770.2").start();
    goes.prints("up\n").await;
    floods.prints("98770.2\n").await;
    goes.kill().await;
    floods.kill().await;
    for argument in ["98770.1", "98770.2"] {
        alice.has_processes(argument, 0).await;
    }
    stays.types("one\n").await;
    stays.prints("heard one\n").await;
    stays.finish().await.exits(0);
}
