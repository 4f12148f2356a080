//! What keeps a DevServer awake, and what does not: each sign of use, as the agent in its pod sees it.

use std::time::Duration;

use bastion::api::{Activity, DevServer, GpuUse};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    Input, Product, Replica, User, eventually, eventually_within, free_port, has_agents, skip_unless, with_agents,
};

/// Signs of use are a minute long.
const LIMIT: Duration = Duration::from_secs(240);

/// Takes a third of a core.
const WORK: &str = "while :; do i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 0.1; done";

/// A bastion that tells soon, and looks often at those whom nobody is in.
async fn watchful(product: &Product) -> Replica {
    product.serve(&["workspace.activity_interval=1s", "workspace.sample_interval=3s"]).await
}

async fn alice() -> (User, Replica) {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let replica = watchful(&product).await;
    alice.is_known_at(&replica).await;
    (alice, replica)
}

/// A DevServer `quick` of hers, whose agent looks for signs of use each second; her login for it.
async fn quick(user: &User, variables: &[(&str, &str)]) -> String {
    user.is_running().await; // Who she is, and her namespace.
    let variables = [&[("BASTION_LOOK_INTERVAL", "1")], variables].concat();
    let variables: Vec<_> = variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    user.add_devserver_with("quick", json!({ "env": variables })).await;
    format!("{}+quick", user.name())
}

async fn activity(user: &User) -> Option<Activity> {
    user.has::<DevServer>("quick").await.status?.activity
}

/// Waits until its status tells this.
async fn tells(user: &User, what: &str, condition: impl Fn(&Activity) -> bool) -> Activity {
    eventually_within(LIMIT, what, async || activity(user).await.filter(&condition)).await
}

/// Waits until it was looked at after `seconds` from now.
async fn is_seen_after(user: &User, seconds: i64) -> Activity {
    let then = Timestamp::now() + SignedDuration::from_secs(seconds);
    let observed = |activity: &Activity| activity.observed_time.as_ref().is_some_and(|time| time.0 > then);
    tells(user, "a later look", observed).await
}

#[tokio::test]
async fn a_job_that_nobody_watches_is_use_and_a_session_that_nobody_types_in_is_not() {
    let Some((product, [alice, bob])) = with_agents(["alice", "bob"]).await else { return };
    let replica = watchful(&product).await;
    bob.is_known_at(&replica).await;
    let (hers, his) = (quick(&alice, &[]).await, quick(&bob, &[]).await);
    let prompt = "echo up; while :; do date; sleep 1; done";
    let quiet = bob.ssh_at(&replica, prompt).login(&his).argument("-tt").input(Input::Held).start();

    // Left by its session, and through a bastion that reports once a minute at most: the other one looks by itself.
    let job = format!("setsid sh -c '{WORK}' >/dev/null 2>&1 </dev/null & echo begun");
    alice.ssh(&job).login(&hers).run().await.exits(0).prints("begun\n");
    let first = tells(&alice, "work", |activity| activity.last_cpu_time.is_some()).await;
    assert!(first.awake.as_deref().is_some_and(|signs| signs.starts_with("CPU")), "{first:?}");
    let second = tells(&alice, "more work", |activity| {
        let (before, now) = (first.last_cpu_time.as_ref(), activity.last_cpu_time.as_ref());
        before.zip(now).is_some_and(|(before, now)| now.0.duration_since(before.0) >= SignedDuration::from_secs(3))
    })
    .await;
    assert_eq!(second.programs, 0, "nobody is in");
    assert_eq!(second.gpu, Some(GpuUse::None));

    let idle = is_seen_after(&bob, 0).await;
    let signs = [&idle.last_cpu_time, &idle.last_disk_time, &idle.last_output_time, &idle.last_input_time];
    assert!(signs.iter().all(|time| time.is_none()) && idle.programs == 1, "{idle:?}");
    drop(quiet);
}

#[tokio::test]
async fn a_gpu_is_use_while_it_works_and_one_that_cannot_be_read_is_unknown() {
    skip_unless!(has_agents(), "the pods have no agent");
    let (alice, replica) = alice().await;
    let path = "/home/dev/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let login = quick(&alice, &[("PATH", path), ("NVIDIA_VISIBLE_DEVICES", "0")]).await;
    let put = async |script: &str| {
        let put = "mkdir -p ~/bin && cat >~/bin/new && chmod +x ~/bin/new && mv ~/bin/new ~/bin/nvidia-smi";
        let put = alice.ssh_at(&replica, put).login(&login).input(Input::Bytes(script.into()));
        put.run().await.exits(0);
    };
    let wait = alice.ssh_at(&replica, "true").login(&login);
    wait.run().await.exits(0);
    tells(&alice, "a GPU that nothing tells of", |activity| activity.gpu == Some(GpuUse::Unknown)).await;

    put("#!/bin/sh\ncase $1 in --query-gpu=utilization.gpu,*) echo '3, 40000'; echo '90, 1' ;; esac\n").await;
    let busy = tells(&alice, "a GPU at work", |activity| activity.last_gpu_time.is_some()).await;
    assert_eq!(busy.gpu, Some(GpuUse::Known));
    assert!(busy.awake.as_deref().is_some_and(|signs| signs.starts_with("GPU")), "{busy:?}");

    put("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n").await;
    tells(&alice, "a tool that is broken", |activity| activity.gpu == Some(GpuUse::Unknown)).await;
}

/// A program of a pod that sends back what it reads.
const ECHO: &str = r#"exec python3 -u -c "
import socket, sys
s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print('listens', flush=True)
c = s.accept()[0]
while piece := c.recv(65536): c.sendall(piece)
" "#;

#[tokio::test]
async fn a_forward_is_use_when_it_carries_more_than_signs_of_life() {
    skip_unless!(has_agents(), "the pods have no agent");
    let (alice, replica) = alice().await;
    let login = quick(&alice, &[]).await;
    let (here, there) = (free_port(), free_port());
    let server = alice.ssh_at(&replica, &format!("{ECHO}{there}")).login(&login).input(Input::Held).start();
    server.prints("listens\n").await;
    let local = format!("{here}:127.0.0.1:{there}");
    let _forward = alice.shell_at(&replica).login(&login).argument("-N").argument("-L").argument(&local).start();
    let mut editor =
        eventually("the forwarded port", async || TcpStream::connect(("127.0.0.1", here)).await.ok()).await;

    // What VS Code sends every five seconds, and more often.
    let hum = async {
        loop {
            editor.write_all(b"thirteen byte").await.expect("it is taken");
            editor.read_exact(&mut [0; 13]).await.expect("it comes back");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let quiet = tokio::select! {
        () = hum => unreachable!("it never ends"),
        quiet = is_seen_after(&alice, 12) => quiet,
    };
    assert_eq!((quiet.last_forward_time, quiet.forwards), (None, 1));

    let (mut from, mut to) = editor.split();
    let bulk = vec![b'x'; 100_000];
    let mut back = vec![0; bulk.len()];
    let (sent, read) = tokio::join!(to.write_all(&bulk), from.read_exact(&mut back));
    sent.and(read.map(drop)).expect("it comes back");
    let used = tells(&alice, "traffic", |activity| activity.last_forward_time.is_some()).await;
    assert!(used.awake.as_deref().is_some_and(|signs| signs.contains("forwards")), "{used:?}");
}

/// What a Jupyter server is to the agent: a file about it, and an answer for whoever has its token.
const JUPYTER: &str = r#"exec python3 -u -c "
import http.server, json, os, sys
port = int(sys.argv[1])
class Jupyter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers['Authorization'] == 'token secret' and self.path == '/user/api/kernels'
        kernels = [{'id': '1', 'execution_state': 'busy', 'last_activity': '2020-01-01T00:00:00.000000Z'}]
        self.send_response(200 if known else 403); self.end_headers()
        self.wfile.write(json.dumps(kernels).encode())
    def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', port), Jupyter)
runtime = os.path.expanduser('~/.local/share/jupyter/runtime')
os.makedirs(runtime)
about = {'port': port, 'base_url': '/user/', 'token': 'secret', 'secure': False, 'pid': os.getpid()}
json.dump(about, open(runtime + '/jpserver-%d.json' % os.getpid(), 'w'))
print('serves', flush=True)
server.serve_forever()
" "#;

#[tokio::test]
async fn a_kernel_that_is_busy_is_use() {
    skip_unless!(has_agents(), "the pods have no agent");
    let (alice, replica) = alice().await;
    let login = quick(&alice, &[]).await;
    let server = alice.ssh_at(&replica, &format!("{JUPYTER}{}", free_port())).login(&login).input(Input::Held).start();
    server.prints("serves\n").await;
    let busy = tells(&alice, "a kernel at work", |activity| activity.last_kernel_time.is_some()).await;
    assert!(busy.awake.as_deref().is_some_and(|signs| signs.contains("Jupyter kernel")), "{busy:?}");
    assert_eq!(busy.last_cpu_time, None);

    let told = alice.ssh_at(&replica, "devctl idle").login(&login).run().await.exits(0).text();
    let line = |name: &str| told.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{told}"));
    assert!(line("quick is in use: ").contains("Jupyter kernel"), "{told}");
    assert!(line("kernels ").contains('▄') && !line("disk ").contains('▄') && line("GPU ").ends_with("none"), "{told}");
}
