//! Pods that go while somebody is in them: deleted, evicted, or started again in place.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Input, Master, User, eventually, free_port, with_agents};

/// Regression: a command was lost that began just before its pod was told to end: no other could be asked for it.
#[tokio::test]
async fn each_command_of_many_runs_while_its_pod_is_replaced() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    // When the agent began tells one pod from the other.
    let agent = "cut -d' ' -f22 /proc/$PPID/stat";
    let first = alice.ssh(agent).run().await.exits(0).text();
    let master = Master::start(alice.shell()).await;
    alice.loses_pod("dev").await;
    eventually("the next pod", async || {
        let next = master.ssh(agent).run().await.exits(0).text();
        assert!(next.trim().parse::<u64>().is_ok(), "{next:?}");
        (next != first).then_some(())
    })
    .await;
}

/// Answers in capitals who is led back here.
async fn shouts_here() -> (u16, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
    let port = listener.local_addr().expect("it is bound").port();
    let serve = async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut text = Vec::new();
            if socket.read_to_end(&mut text).await.is_ok() {
                let _ = socket.write_all(&text.to_ascii_uppercase()).await;
            }
        }
    };
    (port, AbortOnDropHandle::new(tokio::spawn(serve)))
}

/// Whether who connects to `port` in her pod is answered from here.
async fn is_led_back(alice: &User, port: u16) -> bool {
    let ask = format!(
        r#"python3 -c "import socket; s=socket.create_connection(('127.0.0.1',{port}), 20); s.sendall(b'up'); s.shutdown(1); print(s.recv(9))""#
    );
    alice.ssh(&ask).run().await.text() == "b'UP'\n"
}

#[tokio::test]
async fn the_next_pod_listens_for_a_client_too() {
    let Some((_, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    alice.is_running().await;
    let mut his = bob.ssh("cat").input(Input::Held).start();
    his.echoes("before").await;
    let (here, _shouting) = shouts_here().await;
    let there = free_port();
    let remote = format!("{there}:127.0.0.1:{here}");
    let mut forward = alice.shell().argument("-N").argument("-R").argument(&remote).start();
    eventually("a way back", async || is_led_back(&alice, there).await.then_some(())).await;

    for _ in 0..2 {
        let before: Pod = alice.has("dev").await;
        alice.loses_pod("dev").await;
        alice.has_another_pod("dev", &before).await;
        eventually("a way back from the next pod", async || is_led_back(&alice, there).await.then_some(())).await;
        assert!(forward.is_running(), "{}", forward.stderr());
    }
    his.echoes("after").await;
    his.finish().await.exits(0);

    forward.kill().await;
    eventually("the end of the listener", async || (!is_led_back(&alice, there).await).then_some(())).await;
    let taken = format!("python3 -c \"import socket; socket.socket().bind(('127.0.0.1', {there}))\"");
    eventually("the port is free", async || alice.ssh(&taken).run().await.succeeded().then_some(())).await;
}

/// As after a kernel's kill of its first process: the same pod, by the same name and number, and nothing of before in
/// it.
#[tokio::test]
async fn a_container_that_starts_again_ends_what_ran_in_it_with_a_sentence() {
    let Some((_, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    let mut his = bob.ssh("cat").input(Input::Held).start();
    his.echoes("before").await;
    let mut terminal = alice.shell().terminal(24, 100);
    terminal.types("echo said:$((40+2))\r").await;
    terminal.shows_row("said:42").await;
    let mut hers = alice.ssh("sleep 98730 & cat; wait").input(Input::Held).start();
    hers.echoes("before").await;
    let (here, _shouting) = shouts_here().await;
    let there = free_port();
    let remote = format!("{there}:127.0.0.1:{here}");
    let mut forward = alice.shell().argument("-N").argument("-R").argument(&remote).start();
    eventually("a way back", async || is_led_back(&alice, there).await.then_some(())).await;
    let pod: Pod = alice.has("dev").await;

    // Process 1 hears from within what it listens to, and nothing else.
    let stop = "kill -TERM $(sed -n 's/^PPid:[^0-9]*//p' /proc/$PPID/status)";
    alice.ssh(stop).run().await;
    hers.finish().await.exits(255).prints("before\n").says("bastion: ");
    let is_told = |rows: &[String]| {
        let says = |text| rows.iter().any(|row| row.contains(text));
        says("could not return to your shell") || says("the connection to your pod was lost") || says("is gone")
    };
    terminal.shows_rows("why it ends", is_told).await;
    terminal.exits(255).await;

    alice.ssh("echo in").limit(Duration::from_secs(120)).run().await.exits(0).prints("in\n");
    let same: Pod = alice.has("dev").await;
    assert_eq!(same.metadata.uid, pod.metadata.uid, "the container was to start again, not the pod");
    assert_eq!(alice.counts_processes("98730").await, 0);
    eventually("a way back", async || is_led_back(&alice, there).await.then_some(())).await;
    assert!(forward.is_running(), "{}", forward.stderr());
    forward.kill().await;
    his.echoes("after").await;
    his.finish().await.exits(0);
}
