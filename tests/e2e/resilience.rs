//! What breaks, and what users notice of it.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::harness::{Input, Product, eventually, eventually_within, has_agents, is_real, skip_unless, with_agents};

/// The API server goes away and comes back: seen from the bastion, which reaches it through a relay. That relay runs
/// on while the test ends, hence the threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_is_away_for_a_while_is_survived() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let (mut replica, mut gateway) = product.serve_behind_gateway(&["workspace.carrier_grace=5s"]).await;
    alice.ssh_at(&replica, "echo before").run().await.exits(0).prints("before\n");

    let during = alice.ssh_at(&replica, "echo up; sleep 98220.1").start();
    during.prints("up\n").await;
    gateway.cut().await;
    let broken = during.finish().await;
    broken.fails().prints("up\n");
    assert!(broken.stderr().contains("bastion: "), "a sentence tells: {}", broken.stderr());

    // Between logins: who she is is known without the API server, and what is missing is said.
    let without = alice.ssh_at(&replica, "echo without").limit(Duration::from_secs(90)).start();
    assert!(replica.server().is_running());
    gateway.mend().await;
    let without = without.finish().await;
    assert!(without.text() == "without\n" || without.stderr().contains("bastion: "), "{}", without.stderr());
    eventually("logins work again", async || {
        (alice.ssh_at(&replica, "echo after").run().await.text() == "after\n").then_some(())
    })
    .await;
    // Its watches are back too.
    let bob = product.user("bob").await;
    eventually("a user made since then gets in", async || {
        (bob.ssh_at(&replica, "echo in").run().await.text() == "in\n").then_some(())
    })
    .await;
    alice.has_processes("98220.1", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interruption_is_told_and_sessions_go_on() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let (replica, mut gateway) = product.serve_behind_gateway(&[]).await;
    alice.is_known_at(&replica).await;
    let mut command = alice.ssh_at(&replica, "echo up; read line; echo \"$line\"").input(Input::Held).start();
    command.prints("up\n").await;
    let mut terminal = alice.shell_at(&replica).terminal(24, 100);
    terminal.types("clear; echo before:$((40+2))\r").await;
    terminal.shows_row("before:42").await;

    gateway.cut().await;
    terminal.shows("bastion: the connection to your pod is interrupted").await;
    command.types("typed meanwhile\n").await;
    terminal.types("echo typed:$((40+2))\r").await;
    gateway.mend().await;
    terminal.shows_row("typed:42").await;
    // What was said is gone from the screen.
    let clean = |rows: &[String]| !rows.iter().any(|row| row.contains("bastion: "));
    terminal.shows_rows("a clean screen", clean).await;
    let command = command.finish().await;
    command.exits(0).prints("up\ntyped meanwhile\n").says("is interrupted").says("is back");
    terminal.types("exit\r").await;
    terminal.exits(0).await;
}

/// Stops or starts one part of the real cluster, by the word that it is given; none where that is not ours to do.
pub(crate) fn switch(part: &'static str) -> Option<impl Fn(&str)> {
    let script = std::env::var_os("BASTION_TEST_KUBE").filter(|_| is_real())?;
    Some(move |verb: &str| {
        assert!(Command::new(&script).args([verb, part]).status().expect("it is a script").success());
    })
}

#[tokio::test]
async fn a_restarted_api_server_is_survived() {
    let kube = switch("kube-apiserver");
    skip_unless!(kube.is_some(), "BASTION_TEST_KUBE names no script that may stop the API server");
    let kube = kube.expect("it was checked");
    let product = Product::undisturbed().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let mut during = alice.ssh("echo up; read -r line; echo \"$line\"").input(Input::Held).start();
    during.prints("up\n").await;
    kube("stop");
    if has_agents() {
        kube("start");
        during.types("it went on\n").await;
        during.finish().await.exits(0).prints("up\nit went on\n");
    } else {
        during.finish().await.fails().says("bastion: ");
        kube("start");
    }
    eventually("logins work again", async || (alice.ssh("echo after").run().await.text() == "after\n").then_some(()))
        .await;
    let bob = product.user("bob").await;
    bob.ssh("echo in").run().await.exits(0).prints("in\n");
}

/// A kubelet that has just started knows no pod: what ran in them was given up for lost.
#[tokio::test]
async fn a_restarted_kubelet_is_survived() {
    let kube = switch("kubelet");
    skip_unless!(kube.is_some(), "BASTION_TEST_KUBE names no script that may stop the kubelet");
    skip_unless!(has_agents(), "a plain exec ends with the kubelet");
    let kube = kube.expect("it was checked");
    let product = Product::undisturbed().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let mut command = alice.ssh("echo up; read -r line; echo \"$line\"").input(Input::Held).start();
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.types("here=42; echo $((40+2))\r").await;
    terminal.shows_row("42").await;
    command.prints("up\n").await;
    kube("stop");
    kube("start");
    command.types("it went on\n").await;
    command.finish().await.exits(0).prints("up\nit went on\n");
    terminal.types("echo still:$here\r").await;
    terminal.shows_row("still:42").await;
    terminal.types("exit\r").await;
    terminal.exits(0).await;
}

#[tokio::test]
async fn a_session_whose_pod_is_deleted_ends_with_a_sentence() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let session = alice.ssh("echo up; sleep 98330").start();
    session.prints("up\n").await;
    alice.loses_pod("dev").await;
    session.finish().await.fails().prints("up\n").says("bastion: ");
}

#[tokio::test]
async fn a_terminal_whose_pod_is_deleted_ends_with_a_sentence() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.types("echo $((40+2))\r").await;
    terminal.shows_row("42").await;
    alice.loses_pod("dev").await;
    terminal.shows("bastion: ").await;
    terminal.ends().await;
}

#[tokio::test]
async fn a_bastion_that_is_told_to_stop_lets_sessions_finish() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut replica = product.serve(&["ssh.drain_timeout=60s"]).await;
    let mut command = alice.ssh_at(&replica, "echo up; read line; echo \"done $line\"").input(Input::Held).start();
    let mut terminal = alice.shell_at(&replica).terminal(24, 80);
    terminal.types("echo $((40+2))\r").await;
    terminal.shows_row("42").await;
    command.prints("up\n").await;

    replica.server().signal(Signal::TERM);
    terminal.shows("bastion: ").await;
    let port = replica.port();
    eventually("new connections are refused", async || {
        TcpStream::connect(("127.0.0.1", port)).await.is_err().then_some(())
    })
    .await;
    command.types("well\n").await;
    command.finish().await.exits(0).prints("up\ndone well\n");
    terminal.types("exit\r").await;
    terminal.exits(0).await;
    let status = replica.server().ends_within(Duration::from_secs(60)).await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_bastion_that_is_told_to_stop_does_not_wait_for_ever() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    // An agent that does not hear of the session's end would wait for it to come back.
    let mut replica = product.serve(&["ssh.drain_timeout=2s", "workspace.carrier_grace=10m"]).await;
    let session = alice.ssh_at(&replica, "echo up; sleep 98440").start();
    session.prints("up\n").await;
    let start = Instant::now();
    replica.server().signal(Signal::TERM);
    let status = replica.server().ends_within(Duration::from_secs(60)).await;
    assert!(status.success() && start.elapsed() > Duration::from_secs(2), "{status} after {:?}", start.elapsed());
    session.finish().await.fails();
    eventually_within(Duration::from_secs(60), "no process left in the pod", async || {
        (alice.counts_processes("98440").await == 0).then_some(())
    })
    .await;
}
