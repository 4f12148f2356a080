//! Outages that last longer than a carrier is waited for: what a terminal at a shell that lasts makes of them.

use crate::harness::{Gateway, Product, Replica, Terminal, User, eventually, with_agents};
use crate::shells::comes_back;

/// A bastion that gives up carriers soon, and that can be cut off from the cluster.
async fn replica(product: &Product, alice: &User) -> (Replica, Gateway) {
    let (replica, gateway) = product.serve_behind_gateway(&["workspace.carrier_grace=2s"]).await;
    alice.is_known_at(&replica).await;
    (replica, gateway)
}

/// A shell there that knows an answer, and whose pod is away for too long.
async fn shell_that_is_away(alice: &User, replica: &Replica, gateway: &mut Gateway) -> Terminal {
    let mut terminal = alice.shell_at(replica).terminal(24, 100);
    terminal.types("answer=$((40+2)); echo said:$answer\r").await;
    terminal.shows_row("said:42").await;
    gateway.cut().await;
    terminal.shows("bastion: your pod does not answer; your shell goes on there").await;
    terminal
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_back_in_its_shell_however_long_its_pod_was_away() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let (replica, mut gateway) = replica(&product, &alice).await;
    let mut terminal = shell_that_is_away(&alice, &replica, &mut gateway).await;
    eventually("the agent has given up too", async || {
        alice.ssh("shells").run().await.text().contains("Detached").then_some(())
    })
    .await;
    terminal.resize(30, 120);
    gateway.mend().await;
    let back = |rows: &[String]| {
        let shows = |text| rows.iter().any(|row| row.contains(text));
        shows("the connection to your pod is back") && shows("said:42") && !shows("does not answer")
    };
    terminal.shows_rows("the same screen as before", back).await;
    terminal.types("clear; echo again:$answer; stty size\r").await;
    terminal.shows_row("again:42").await;
    terminal.shows_row("30 120").await;
    assert!(alice.ssh("shells").run().await.text().contains("Attached"), "nobody else is in it");
    terminal.types("exit 7\r").await;
    terminal.exits(7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_wait_finds_the_shell_at_the_next_login() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let (replica, mut gateway) = replica(&product, &alice).await;
    let mut terminal = shell_that_is_away(&alice, &replica, &mut gateway).await;
    terminal.types("\x03").await;
    terminal.shows("your shell goes on in the pod; log in again to be back in it").await;
    terminal.exits(255).await;
    let mut next = comes_back(&alice, product.front(), (24, 100), "the shell you left").await;
    next.types("echo again:$answer\r").await;
    next.shows_row("again:42").await;
    next.types("exit\r").await;
    next.exits(0).await;
}

/// Her shell is somewhere else by then, and hers to go on in there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_whose_shell_was_taken_over_meanwhile_ends() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let (replica, mut gateway) = replica(&product, &alice).await;
    let mut terminal = shell_that_is_away(&alice, &replica, &mut gateway).await;
    let mut next = comes_back(&alice, product.front(), (24, 100), "the shell you left").await;
    next.types("echo again:$answer\r").await;
    next.shows_row("again:42").await;
    gateway.mend().await;
    terminal.shows("could not return to your shell: it ended meanwhile, or another session is in it").await;
    terminal.exits(255).await;
    next.types("exit 7\r").await;
    next.exits(7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_whose_pod_went_meanwhile_ends_with_a_sentence() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let (replica, mut gateway) = replica(&product, &alice).await;
    let mut terminal = shell_that_is_away(&alice, &replica, &mut gateway).await;
    alice.loses_pod("dev").await;
    gateway.mend().await;
    let says_why = |rows: &[String]| {
        let says = |text| rows.iter().any(|row| row.contains(text));
        says("could not return to your shell") || says("the pod of your DevServer `dev` is gone")
    };
    terminal.shows_rows("why it ends", says_why).await;
    terminal.exits(255).await;
}
