//! Pods in which something is missing or wrong: each session has a clear end, and nobody else notices.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bastion::api::DevServer;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::forwards::connect;
use crate::harness::{
    Input, LIMIT, Laptop, Master, Product, eventually, eventually_within, free_port, is_real, skip_unless,
    until_refused, with_agents, within,
};

/// Echoes what is typed.
const ECHO: &str = "echo up; cat";

/// As `ulimit -n 64` where the agent is started: there are files for some sessions, and then no more.
#[tokio::test]
async fn an_agent_without_files_refuses_sessions_and_goes_on_with_those_it_has() {
    let Some((product, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    let replica = product.serve(&["ssh.max_sessions=100"]).await;
    for user in [&alice, &bob] {
        user.is_known_at(&replica).await;
    }
    let lower = "python3 -c \"import resource; resource.prlimit($PPID, resource.RLIMIT_NOFILE, (64, 64))\"";
    alice.ssh_at(&replica, lower).run().await.exits(0);
    let master = Master::start(alice.shell_at(&replica)).await;
    let (mut held, refused) = until_refused(|| master.ssh(ECHO)).await;
    refused.finish().await.exits(255).prints("").says("bastion: ").says("Too many open files");
    assert!(held.len() > 3, "{} sessions", held.len());
    for session in &mut held {
        session.echoes("here").await;
    }
    bob.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
    for session in held {
        session.finish().await.exits(0);
    }
    eventually("room again", async || (alice.ssh_at(&replica, "echo in").run().await.text() == "in\n").then_some(()))
        .await;
}

/// Greets whoever connects, and keeps all of them.
const GREET: &str = r#"exec python3 -u -c "
import socket, sys
s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(1024); print('listens')
held = []
while True: held.append(s.accept()[0]); held[-1].sendall(b'!')
" "#;

/// A browser's connections took all the files that the agent may have, and nobody could log in any more.
#[tokio::test]
async fn connections_leave_files_to_sessions() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let lower = "python3 -c \"import resource; resource.prlimit($PPID, resource.RLIMIT_NOFILE, (256, 256))\"";
    alice.ssh_at(&replica, lower).run().await.exits(0);
    let [here, there] = [free_port(), free_port()];
    let greets = alice.ssh_at(&replica, &format!("{GREET}{there}")).input(Input::Held).start();
    greets.prints("listens\n").await;
    let leads = format!("{here}:127.0.0.1:{there}");
    let forward = alice.shell_at(&replica).argument("-N").argument("-L").argument(&leads).start();
    let mut held = Vec::new();
    loop {
        assert!(held.len() < 256, "there is room for ever more");
        let mut socket = connect(here).await;
        let mut greeting = [0];
        // A refused one is reset, or only closed.
        match within(LIMIT, "a greeting, or none", socket.read(&mut greeting)).await {
            Ok(1) => held.push(socket),
            _ => break,
        }
    }
    assert!(held.len() > 100, "{} connections", held.len());
    alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
    forward.kill().await;
    greets.kill().await;
}

/// Takes the agent's place. To those that link it is, in turn, the agent until a file `lie` is there and then no more,
/// and garbage of several kinds. The folder is its argument.
const LIAR: &str = r#"exec python3 -u -c "
import itertools, os, socket, sys, threading
os.chdir(sys.argv[1]); os.rename('agent.sock', 'real.sock')
s = socket.socket(socket.AF_UNIX); s.bind('agent.sock'); s.listen(64); print('lies')
def pump(source, sink, lies):
    try:
        while data := os.read(source, 65536):
            if lies and os.path.exists('lie'): data = os.urandom(4096)
            os.write(sink, data)
    except OSError: pass
    os.close(sink)
def honest(c, fds):
    real = socket.socket(socket.AF_UNIX); real.connect('real.sock')
    (up, to), (back, down) = os.pipe(), os.pipe()
    socket.send_fds(real, [b'+'], [up, down]); os.close(up); os.close(down)
    threading.Thread(target=pump, args=(fds[0], to, False)).start()
    pump(back, fds[1], True); c.close()
def says(bytes, times):
    def speak(c, fds):
        try:
            for _ in itertools.repeat(0, times): os.write(fds[1], bytes)
        except OSError: pass
        os.close(fds[0]); os.close(fds[1]); c.close()
    return speak
kinds = [says(bytes(65536), 4096), says(b'\xff' * 65536, 4096), says(os.urandom(65536), 64), says(b'SSH-2.0-OpenSSH_9.2\r\n', 1), says(b'', 1)]
turn = itertools.cycle(kinds)
while True:
    c, _ = s.accept(); _, fds, _, _ = socket.recv_fds(c, 1, 2)
    kind = next(turn) if os.path.exists('lie') else honest
    threading.Thread(target=kind, args=(c, fds), daemon=True).start()
" "$(dirname "$(readlink /proc/$PPID/exe)")""#;

#[tokio::test]
async fn an_agent_that_answers_garbage_is_told_of_and_nobody_else_notices() {
    let Some((product, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    let mut replica = product.serve(&["workspace.carrier_grace=3s"]).await;
    for user in [&alice, &bob] {
        user.is_known_at(&replica).await;
    }
    let mut his = bob.ssh_at(&replica, ECHO).input(Input::Held).start();
    his.echoes("before").await;
    let folder = alice.ssh("dirname $(readlink /proc/$PPID/exe)").run().await.exits(0).text();
    let folder = folder.trim();
    let liar = alice.ssh(LIAR).input(Input::Held).start();
    liar.prints("lies\n").await;

    let mut hers = alice.ssh_at(&replica, ECHO).input(Input::Held).start();
    hers.echoes("before").await;
    alice.ssh(&format!("touch {folder}/lie")).run().await.exits(0);
    hers.types("is anybody there\n").await;
    hers.finish().await.exits(255).says("bastion: ");
    his.echoes("meanwhile").await;
    // The agent's place is empty for a moment, and each login is told another lie.
    for turn in 0..6 {
        let refused = alice.ssh_at(&replica, "echo in").limit(Duration::from_secs(60)).run().await;
        refused.exits(255).prints("").says("bastion: ");
        alice.shell_at(&replica).argument("-W").argument("localhost:1").run().await.fails().prints("");
        his.echoes(&format!("still {turn}")).await;
    }
    bob.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
    let memory = replica.server().resident_mib();
    assert!(memory < 200, "{memory} MiB");

    // It was the same bastion all the time, and she is let in where her agent is her agent.
    alice.ssh(&format!("mv {folder}/real.sock {folder}/agent.sock")).run().await.exits(0);
    eventually_within(Duration::from_secs(60), "a login", async || {
        (alice.ssh_at(&replica, "echo in").run().await.text() == "in\n").then_some(())
    })
    .await;
    his.finish().await.exits(0);
    liar.kill().await;
}

/// A file system of its own for a folder, until dropped.
struct Small(PathBuf);

impl Small {
    /// None where nobody may mount anything.
    fn mounted_at(folder: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder);
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a program may be in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_home_is_told_of_and_keeps_nobody_out() {
    skip_unless!(!is_real(), "only on this machine can a test make a home small");
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let home = alice.ssh("echo $HOME").run().await.exits(0).text();
    let home = PathBuf::from(home.trim());
    let small = Small::mounted_at(&home);
    skip_unless!(small.is_some(), "nobody may mount a file system here");
    alice.ssh("head -c 2M /dev/zero >full").run().await.exits(1).says("No space left on device");

    // A command, a shell and forwards need no room at home.
    alice.ssh("echo in; echo \"$HOME\" >&2").run().await.exits(0).prints("in\n");
    let mut terminal = alice.shell().terminal(24, 100);
    terminal.types("echo said:$((40+2))\r").await;
    terminal.shows_row("said:42").await;
    terminal.types("exit\r").await;
    terminal.exits(0).await;
    alice.ssh("echo in").argument("-R").argument("0:localhost:1").run().await.exits(0).prints("in\n");

    // What does need room says so, and loses nothing that was there.
    let laptop = Laptop::new(&alice, product.front());
    laptop.write("file", vec![7; 100_000]);
    laptop.run("scp", &["-q", "file", "pod:by-sftp"]).await.fails().says("by-sftp");
    laptop.run("scp", &["-q", "-O", "file", "pod:by-scp"]).await.fails().says("No space left on device");
    laptop.run_with("sftp", &["-q", "-b", "-", "pod"], b"put file by-put\n").await.fails().says("by-put");
    laptop.run_with("ssh", &["pod", "cat >by-cat"], &[7; 100_000]).await.exits(1).says("No space left on device");

    // Its pod starts anew with it, too, and with a script that has much to say, and whose words are not lost.
    let before: Pod = alice.has("dev").await;
    let script = Patch::Merge(json!({"spec": {"startupScript": "#!/bin/sh\nseq 100000\nexit 3\n"}}));
    alice.api::<DevServer>().patch("dev", &PatchParams::default(), &script).await.expect("it is there");
    alice.has_another_pod("dev", &before).await;
    let told = alice.ssh("tail -n 1 /tmp/bastion-startup.log; rm /tmp/bastion-startup.log").run().await;
    told.exits(0)
        .prints("100000\n")
        .says("failed (exit code 3); its output is in /tmp/bastion-startup.log; the end of its output");
    bob.ssh("echo in").run().await.exits(0).prints("in\n");
    alice.ssh("rm full; ls -A").run().await.exits(0);
    laptop.run("scp", &["-q", "file", "pod:by-sftp"]).await.exits(0);
    alice.ssh("wc -c <by-sftp").run().await.exits(0).prints("100000\n");
    drop(small);
}
