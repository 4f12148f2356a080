//! One exec stream carries all sessions of a pod, and may break.

use std::time::Duration;

use bastion::api::DevServer;

use crate::harness::{Input, eventually, with_agents};

#[tokio::test]
async fn a_session_goes_on_when_its_exec_breaks() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let broken =
        r#"agent=$(readlink /proc/$PPID/exe); seq 100000; pkill -f "^$agent connect"; seq 100000; cat; exit 3"#;
    let lines: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    let input = "to the end\n";
    let finished = alice.ssh(broken).input(Input::Bytes(input.into())).run().await;
    finished.exits(3).prints(&format!("{lines}{lines}{input}"));
}

#[tokio::test]
async fn a_session_whose_agent_dies_ends_with_a_sentence_and_the_next_finds_another() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let killed = alice.ssh("kill -9 $PPID; sleep 100").run().await;
    killed.exits(255).prints("").says("lost");
    eventually("a session", async || {
        let next = alice.ssh("echo again").run().await;
        (next.text() == "again\n").then_some(())
    })
    .await;
}

/// Killed, the agent could not hang them up: they ran on, and nobody knew of them.
#[tokio::test]
async fn programs_end_with_their_killed_agent_and_those_in_the_background_do_not() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let programs = "sleep 98510 </dev/null >/dev/null 2>&1 & nohup sleep 98511 2>/dev/null & sleep 98512 & \
                    until [ $(pgrep -c -f '^sleep 9851[0-2]$') = 3 ]; do :; done; kill -9 $PPID; wait";
    alice.ssh(programs).run().await.exits(255).says("lost");
    eventually("a session", async || (alice.ssh("echo in").run().await.text() == "in\n").then_some(())).await;
    alice.has_processes("98512", 0).await;
    assert_eq!((alice.counts_processes("98510").await, alice.counts_processes("98511").await), (1, 1));
}

/// Regression: such a program ran on: that its terminal hung up was all that it was told.
#[tokio::test]
async fn a_program_on_a_terminal_that_ignores_hang_ups_ends_with_its_killed_agent() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let program = "trap '' HUP; sleep 98513 & echo $((40+2)); read line; kill -9 $PPID; wait";
    let mut terminal = alice.ssh(program).terminal(24, 80);
    terminal.shows_row("42").await;
    assert_eq!(alice.counts_processes("98513").await, 1);
    terminal.types("\r").await;
    terminal.exits(255).await;
    eventually("its end", async || {
        let left = alice.ssh("pgrep -c -x -f 'sleep 98513'").run().await;
        (left.text() == "0\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pod_made_anew_within_the_linger_is_entered_at_once() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    alice.is_running().await;
    let uid = async || alice.has::<DevServer>("dev").await.status.and_then(|status| status.pod_uid);
    let before = uid().await.expect("a pod that runs has one");
    alice.loses_pod("dev").await;
    eventually("another pod", async || uid().await.filter(|uid| *uid != before)).await;
    alice.ssh("echo in").limit(Duration::from_secs(30)).run().await.exits(0).prints("in\n");
}

/// A carrier that is closed as soon as nobody uses it is closed in the moment in which the next session comes: it read
/// that the agent was older than the server.
#[tokio::test]
async fn sessions_that_come_as_their_carrier_is_closed_find_another() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&["workspace.carrier_linger=0s"]).await;
    alice.is_known_at(&replica).await;
    let one_after_another = async || {
        for _ in 0..8 {
            alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
            let refused = alice.shell_at(&replica).argument("-W").argument("localhost:1").run().await;
            assert!(!replica.log().contains("older than this server"), "{}", refused.stderr());
        }
    };
    tokio::join!(one_after_another(), one_after_another(), one_after_another());
}

/// An agent that does not answer, as when its node is silent: it took 45 seconds to say so.
#[tokio::test]
async fn silence_is_told_soon_and_so_is_its_end() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    let silent = "echo up; (sleep 1; kill -STOP $PPID; sleep 20; kill -CONT $PPID) </dev/null >/dev/null 2>&1 & cat";
    let mut session = alice.ssh(silent).input(Input::Held).start();
    session.prints("up\n").await;
    let mut all = "up\n".to_owned();
    // She goes on typing, so that something is under way whenever it stops.
    eventually("its end", async || {
        session.types("typed\n").await;
        all += "typed\n";
        session.stderr().contains("is back").then_some(())
    })
    .await;
    session.closes_stdin();
    session.finish().await.exits(0).prints(&all).says("is interrupted").says("is back");
}

/// Regression: where the agent was gone before its answer came, the next one was asked for the same, on the same home.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_may_have_begun_is_not_run_again() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let (replica, mut gateway) = product.serve_behind_gateway(&[]).await;
    alice.is_known_at(&replica).await;
    alice.ssh_at(&replica, "true").run().await.exits(0);
    gateway.withholds_answers();
    let hers = alice.ssh_at(&replica, "echo ran >>runs; kill -9 $PPID").start();
    // Each look is over another carrier to the same agent, which may take it along.
    let runs = async || {
        eventually("a look", async || {
            let seen = alice.ssh("touch runs; cat runs").run().await;
            seen.succeeded().then(|| seen.text())
        })
        .await
    };
    eventually("the command", async || (runs().await == "ran\n").then_some(())).await;
    gateway.cut().await;
    gateway.mend().await;
    hers.finish().await.exits(255).prints("").says("the command may have run");
    assert_eq!(runs().await, "ran\n");
}
