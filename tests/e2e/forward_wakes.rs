//! A forward alone, without a session, wakes a DevServer that sleeps.

use bastion::api::{DevServer, Phase, SuspensionReason};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::net::UnixStream;

use crate::forwards::exchange;
use crate::harness::{Input, User, eventually, free_port, with_agents};
use crate::lifecycle::{lives, sleeps, status};

/// What `dev` starts before anybody is in: a server that answers in capitals.
fn serving(port: u16) -> String {
    format!(
        "#!/bin/sh
python3 -u -c \"
import socket, threading
def serve(c):
    text = b''
    while piece := c.recv(65536): text += piece
    c.sendall(text.upper()); c.close()
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', {port})); s.listen()
open('listens', 'w').close()
while True: threading.Thread(target=serve, args=(s.accept()[0],)).start()
\" </dev/null >/dev/null 2>&1 &
until test -e listens; do sleep 0.05; done
rm listens
"
    )
}

async fn falls_asleep(alice: &User) {
    lives(alice, json!({"suspended": true})).await;
    sleeps(alice, SuspensionReason::Requested).await;
}

#[tokio::test]
async fn a_forward_alone_wakes_one_that_sleeps() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    alice.is_running().await;
    let there = free_port();
    let script = Patch::Merge(json!({"spec": {"startupScript": serving(there)}}));
    alice.api::<DevServer>().patch("dev", &PatchParams::default(), &script).await.expect("it is there");

    falls_asleep(&alice).await;
    let words = alice.shell().argument("-W").argument(&format!("localhost:{there}"));
    words.input(Input::Bytes(b"by -W".into())).run().await.exits(0).prints("BY -W");
    assert_eq!(status(&alice).await.phase, Phase::Running);

    falls_asleep(&alice).await;
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let here = folder.path().join("here");
    let local = format!("{}:localhost:{there}", here.display());
    let forward = alice.shell().argument("-N").argument("-L").argument(&local).start();
    eventually("it listens here", async || here.exists().then_some(())).await;
    // Nobody has come by it so far.
    assert_eq!(status(&alice).await.phase, Phase::Suspended);
    let socket = eventually("the socket", async || UnixStream::connect(&here).await.ok()).await;
    assert_eq!(exchange(socket, b"by -L").await, b"BY -L");
    assert_eq!(status(&alice).await.phase, Phase::Running);
    forward.kill().await;

    falls_asleep(&alice).await;
    let known_hosts = product.folder().join(format!("{}-known", alice.name()));
    let jump = alice.shell().jump("dev", alice.key(), &known_hosts);
    let words = jump.argument("-W").argument(&format!("localhost:{there}"));
    words.input(Input::Bytes(b"by -J".into())).run().await.exits(0).prints("BY -J");
}
