//! Pods whose agent has less than it is used to: nowhere to write, nobody who knows names, no room for processes. What
//! needs it says so; all else goes on, and so do others.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use bastion::api::DevServer;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use crate::forwards::{connect, exchange, shouts};
use crate::harness::{
    Agent, Input, LIMIT, Laptop, Product, Server, Session, Ssh, User, eventually, free_port, has_agents, is_real,
    keygen, skip_unless, until_refused, within,
};

const NOT_HERE: &str = "only on this machine, and as root, can a test give an agent mounts of its own";

/// Whether a second agent can be started beside a pod's, with mounts of its own.
fn can_confine() -> bool {
    let mut unshare = Command::new("unshare");
    !is_real() && unshare.args(["-m", "true"]).output().is_ok_and(|output| output.status.success())
}

/// A second agent in alice's pod, in the place of the first for whoever has no link yet. `confine` is what a shell with
/// mounts of its own does before.
async fn confined(alice: &User, confine: &str) -> Session {
    let start = format!(
        "cd \"$(dirname \"$(readlink /proc/$PPID/exe)\")\" && mv agent.sock first.sock && echo moved && \
         exec unshare -m sh -e -c '{confine}; exec \"$PWD/bastion-agent\" serve'"
    );
    let agent = alice.ssh(&start).input(Input::Held).start();
    agent.prints("moved\n").await;
    let listens = "test -S \"$(dirname \"$(readlink /proc/$PPID/exe)\")/agent.sock\"";
    eventually("the agent listens", async || alice.ssh(listens).run().await.succeeded().then_some(())).await;
    agent
}

/// Has `line` be all of `file` in alice's pod, for whoever has no link to its agent yet, as long as what is returned is
/// held; none if her user may not.
async fn holds(alice: &User, file: &str, line: &str) -> Option<(Option<Session>, TempDir)> {
    let folder = tempfile::tempdir().expect("it can be had");
    // Only a real pod has files of its own.
    if is_real() {
        let written = alice.ssh(&format!("echo {line} >{file}")).run().await;
        return written.succeeded().then_some((None, folder));
    }
    let own = folder.path().join("file");
    std::fs::write(&own, format!("{line}\n")).expect("the folder is ours");
    let agent = confined(alice, &format!("mount -o bind {} {file}", own.display())).await;
    Some((Some(agent), folder))
}

const REFUSED: &str = "Read-only file system";
/// As `readOnlyRootFilesystem`, and more: the home is read-only, too. The agent's own folder is a volume.
const READ_ONLY: &str = "mount -o bind . . && cd \"$PWD\" && mount -o remount,bind,ro /";

#[tokio::test]
async fn a_pod_that_can_be_written_nowhere_serves_what_writes_nothing() {
    skip_unless!(can_confine(), NOT_HERE);
    let product = Product::shared().await;
    let (alice, bob) = (product.user("alice").await, product.user("bob").await);
    let mut his = bob.ssh("cat").input(Input::Held).start();
    his.echoes("before").await;
    let confined = confined(&alice, READ_ONLY).await;
    let replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let nowhere = "! touch ~/file && ! touch /tmp/file";
    alice.ssh_at(&replica, nowhere).run().await.exits(0).says(REFUSED);

    alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
    let mut terminal = alice.shell_at(&replica).terminal(24, 100);
    terminal.types("echo said:$((40+2))\r").await;
    terminal.shows_row("said:42").await;
    terminal.types("exit\r").await;
    terminal.exits(0).await;
    let there = free_port();
    let _server = shouts(&alice, &there.to_string()).await;
    let words = alice.shell_at(&replica).argument("-W").argument(&format!("localhost:{there}"));
    words.input(Input::Bytes(b"by -W".into())).run().await.exits(0).prints("BY -W");
    let listens = alice.ssh_at(&replica, "echo in").option("ExitOnForwardFailure=yes").argument("-R");
    listens.argument("0:localhost:1").run().await.exits(0).prints("in\n");
    // The agent's own folder is the last place for its socket.
    let agent = Agent::start().await;
    agent.add(alice.key());
    let forwarding = Ssh::new(&replica, alice.name()).agent(agent.socket()).argument("-A");
    forwarding.command("test -S \"$SSH_AUTH_SOCK\" && echo there").run().await.exits(0).prints("there\n");

    let laptop = Laptop::new(&alice, &replica);
    laptop.write("file", vec![7; 1000]);
    laptop.run("scp", &["-q", "file", "pod:by-sftp"]).await.fails().says("by-sftp");
    laptop.run("scp", &["-q", "-O", "file", "pod:by-scp"]).await.fails().says(REFUSED);
    laptop.run("ssh", &["pod", "echo >by-ssh"]).await.fails().says(REFUSED);
    laptop.run("scp", &["-q", "pod:/etc/hostname", "here"]).await.exits(0);
    his.echoes("after").await;
    his.finish().await.exits(0);
    confined.kill().await;
}

/// Regression: the agent stayed with the few that runtimes give, one process for all.
#[tokio::test]
async fn an_agent_takes_the_files_that_it_may_have_and_programs_get_what_was_given() {
    skip_unless!(can_confine(), NOT_HERE);
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let confined = confined(&alice, "ulimit -Sn 512").await;
    let replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    // It has them once it is spoken to.
    let tell = "read go; for process in self $PPID; do grep \"open files\" /proc/$process/limits; done";
    let told = alice.ssh_at(&replica, tell).input(Input::Bytes(b"go\n".into())).run().await.exits(0).text();
    let numbers = told.lines().map(|line| line.split_whitespace().skip(3).take(2).map(|n| n.parse::<u64>().unwrap()));
    let [program, agent] = numbers.map(Iterator::collect).collect::<Vec<Vec<_>>>().try_into().expect("two lines");
    assert_eq!((program[0], agent[0]), (512, agent[1].min(65_536)), "{told}");
    confined.kill().await;
}

/// A name server that answers nothing, as one does that a network policy keeps away.
const DEAF: &str = "python3 -u -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.53.53.53', 53)); print('listens')
while True: s.recv(512); print('asked')
\"";

#[tokio::test]
async fn a_name_that_nobody_tells_is_given_up_and_delays_nobody() {
    skip_unless!(has_agents() && (is_real() || can_confine()), NOT_HERE);
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let mut deaf = alice.ssh(DEAF).input(Input::Held).start();
    eventually("a name server, or its end", async || (!deaf.stdout_is_empty() || !deaf.is_running()).then_some(()))
        .await;
    skip_unless!(!deaf.stdout_is_empty(), "nobody may listen at port 53 here");
    let held = holds(&alice, "/etc/resolv.conf", "nameserver 127.53.53.53").await;
    skip_unless!(held.is_some(), "the pod's user may not change its resolv.conf");
    let replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let there = free_port();
    let _server = shouts(&alice, &there.to_string()).await;

    let by_name = alice.shell_at(&replica).argument("-W").argument("host.example:80").start();
    deaf.prints("asked\n").await;
    let (lost, here) = (free_port(), free_port());
    let both = alice.shell_at(&replica).argument("-N").argument("-L").argument(&format!("{lost}:host.example:80"));
    let both = both.argument("-L").argument(&format!("{here}:localhost:{there}")).start();
    let mut unanswered = connect(lost).await;
    for host in ["localhost", "127.0.0.1"] {
        let words = alice.shell_at(&replica).argument("-W").argument(&format!("{host}:{there}"));
        words.input(Input::Bytes(b"meanwhile".into())).run().await.exits(0).prints("MEANWHILE");
    }
    let mut nothing = Vec::new();
    let ended = within(LIMIT, "the end of the connection", unanswered.read_to_end(&mut nothing)).await;
    assert!(ended.is_err() || nothing.is_empty(), "{nothing:?}");
    both.says("connect failed").await;
    by_name.finish().await.exits(255).prints("").says("connect failed").took_less_than(Duration::from_secs(100));
    // It is the same connection.
    assert_eq!(exchange(connect(here).await, b"and on").await, b"AND ON");
    both.kill().await;
}

#[tokio::test]
async fn a_name_that_only_the_pod_knows_leads_into_it() {
    skip_unless!(has_agents() && (is_real() || can_confine()), NOT_HERE);
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let there = free_port();
    let _server = shouts(&alice, &there.to_string()).await;
    let held = holds(&alice, "/etc/hosts", "127.0.0.1 only-here.example").await;
    skip_unless!(held.is_some(), "the pod's user may not change its hosts file");
    let replica = product.serve(&[]).await;
    alice.is_known_at(&replica).await;
    let words = alice.shell_at(&replica).argument("-W").argument(&format!("only-here.example:{there}"));
    words.input(Input::Bytes(b"by name".into())).run().await.exits(0).prints("BY NAME");
}

/// Nobody else on this machine runs as this user: the kernel counts processes by it.
const UID: u32 = 61_234;
/// Lowers the limit of the agent's: there is room for some sessions, and then no more.
const LOWER: &str = r#"python3 -c "
import glob, os, resource
def owner(task):
    try: return os.stat(task).st_uid
    except OSError: return -1
own = sum(owner(task) == os.getuid() for task in glob.glob('/proc/[0-9]*/task/*'))
resource.prlimit($PPID, resource.RLIMIT_NPROC, (own + 16, own + 16))""#;

/// No process but the shell's own.
const ECHO: &str = "echo up; while read -r line; do echo \"$line\"; done";

async fn runs_out_of_processes(alice: impl Fn(&str) -> Ssh, bob: impl Fn(&str) -> Ssh) {
    let mut his = bob("cat").input(Input::Held).start();
    his.echoes("before").await;
    alice(LOWER).run().await.exits(0);
    let (mut held, refused) = until_refused(|| alice(ECHO)).await;
    refused.finish().await.exits(255).prints("").says("bastion: ").says("Resource temporarily unavailable");
    assert!(held.len() > 2, "{} sessions", held.len());
    for session in &mut held {
        session.echoes("here").await;
    }
    his.echoes("meanwhile").await;
    bob("echo in").run().await.exits(0).prints("in\n");
    for session in held {
        session.finish().await.exits(0);
    }
    eventually("room again", async || (alice("echo in").run().await.text() == "in\n").then_some(())).await;
    his.finish().await.exits(0);
}

#[tokio::test]
async fn an_agent_without_room_for_processes_refuses_sessions_and_goes_on_with_those_it_has() {
    skip_unless!(has_agents(), "the pods have no agent");
    if is_real() {
        let product = Product::shared().await;
        let (alice, bob) = (product.user("alice").await, product.user("bob").await);
        alice.is_running().await;
        let before: Pod = alice.has("dev").await;
        let runs_as = Patch::Merge(json!({ "spec": { "user": { "uid": UID } } }));
        alice.api::<DevServer>().patch("dev", &PatchParams::default(), &runs_as).await.expect("it is there");
        alice.has_another_pod("dev", &before).await;
        return runs_out_of_processes(|command| alice.ssh(command), |command| bob.ssh(command)).await;
    }
    // All of it as another user than root, whom no limit stops.
    skip_unless!(rustix::process::getuid().is_root(), "only root can start a cluster as somebody else");
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    std::os::unix::fs::chown(folder.path(), Some(UID), Some(UID)).expect("root may");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let users = ["alice", "bob"].map(|user| format!("{user}={}.pub", keygen(folder.path(), user, "ed25519").display()));
    let data = path("data");
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--data", &data, "--user", &users[0], "--user", &users[1]];
    let mut server = Server::start(&arguments, |command| {
        command.env("HOME", folder.path()).uid(UID).gid(UID);
    });
    let ready = server.ready().await;
    let ssh = |user: &str, command: &str| Ssh::to_dev(&ready, user).key(&folder.path().join(user)).command(command);
    runs_out_of_processes(|command| ssh("alice", command), |command| ssh("bob", command)).await;
}
