//! Clients that ask for signs of life (`ServerAliveInterval`) and leave where none comes: the bastion answers, whatever
//! else stands still. How long that lasts is what is tested here; nothing is waited for by it.

use std::time::{Duration, Instant};

use bastion::api::{DevServer, SuspensionReason};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::sleep;

use crate::harness::{Flood, Input, Product, Ssh, free_port, with_agents};
use crate::lifecycle::{lives, sleeps};

/// Before this is over a client has left that hears nothing: after three questions, two seconds apart.
const LONG: Duration = Duration::from_secs(12);

fn asks_for_signs(ssh: Ssh) -> Ssh {
    ssh.option("ServerAliveInterval=2").option("ServerAliveCountMax=3")
}

#[tokio::test]
async fn a_program_that_reads_nothing_costs_no_connection() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let flood = Flood::bytes(11, 64_000_000);
    let command = "echo up; until test -e go; do sleep 0.1; done; wc -c";
    let stalled = asks_for_signs(alice.ssh(command)).input(Input::Flood(flood)).start();
    stalled.prints("up\n").await;
    stalled.stalls().await;
    sleep(LONG).await;
    alice.ssh("touch go").run().await.exits(0);
    stalled.finish().await.exits(0).prints("up\n64000000\n");
}

/// `-R` waits for the pod, too, and is answered in the loop that answers all else.
#[tokio::test]
async fn a_devserver_that_takes_long_to_wake_costs_no_connection() {
    let Some((_, [alice])) = with_agents(["alice"]).await else { return };
    alice.is_running().await;
    let script = Patch::Merge(json!({"spec": {"startupScript": format!("#!/bin/sh\nsleep {}\n", LONG.as_secs())}}));
    alice.api::<DevServer>().patch("dev", &PatchParams::default(), &script).await.expect("it is there");
    lives(&alice, json!({"suspended": true})).await;
    sleeps(&alice, SuspensionReason::Requested).await;

    let began = Instant::now();
    let remote = format!("{}:localhost:1", free_port());
    let woken = asks_for_signs(alice.ssh("echo in")).argument("-R").argument(&remote).run().await;
    woken.exits(0).prints("in\n");
    assert!(began.elapsed() >= LONG, "it was meant to take longer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_cut_off_costs_no_connection() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let (replica, mut gateway) = product.serve_behind_gateway(&["workspace.carrier_grace=5m"]).await;
    alice.is_known_at(&replica).await;
    let command = "echo up; read -r line; echo \"$line\"";
    let mut session = asks_for_signs(alice.ssh_at(&replica, command)).input(Input::Held).start();
    session.prints("up\n").await;

    gateway.cut().await;
    session.says("is interrupted").await;
    // Another of the same client's, whose program cannot be started.
    let waits = asks_for_signs(alice.ssh_at(&replica, "echo in")).start();
    sleep(LONG).await;
    gateway.mend().await;
    session.types("typed afterwards\n").await;
    session.finish().await.exits(0).prints("up\ntyped afterwards\n");
    waits.finish().await.exits(0).prints("in\n");
}
