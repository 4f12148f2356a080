//! A program that the kernel ends because memory ran out says `Killed` at most; its user is told why.

use bastion::api::{Activity, DevServer};
use serde_json::json;

use crate::harness::{Input, Product, Ssh, User, eventually, has_agents, is_real, skip_unless, with_agents};

/// What a user reads, of a DevServer with this limit.
fn told(limit: &str) -> String {
    format!("the kernel ended a program of `train`, which ran out of memory (limit {limit}, in use at most ")
}

fn shell(product: &Product, user: &User) -> Ssh {
    Ssh::new(product.front(), &format!("{}+train", user.name())).key(user.key())
}

/// Its control group's files are in her home, where she can say what she likes.
#[tokio::test]
async fn whoever_is_in_is_told_once_that_memory_ran_out() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let replica = product.serve(&["workspace.activity_interval=1s"]).await;
    alice.is_running().await;
    alice.is_known_at(&replica).await;
    let group = json!([{"name": "BASTION_CGROUP", "value": "/home/dev/group"}]);
    alice.add_devserver_with("train", json!({ "env": group })).await;
    let run = |command: &str| shell(&product, &alice).command(command);
    let files = "mkdir group; cd group; echo 4294967296 >memory.max; echo 4290772992 >memory.peak; \
                 echo 'oom_kill 3' >memory.events";
    run(files).run().await.exits(0);

    let mut prompt = shell(&product, &alice).terminal(24, 200);
    prompt.types("echo $((40+2))\r").await;
    prompt.shows_row("42").await;
    let mut drawing = run("seq 500 | less").terminal(24, 200);
    drawing.shows_row(":").await;
    let mut bystander = run("echo up; cat").input(Input::Held).start();
    bystander.prints("up\n").await;
    let observed = || Ssh::new(&replica, &format!("{}+train", alice.name())).key(alice.key());
    let watched = observed().command("echo up; cat").input(Input::Held).start();
    watched.prints("up\n").await;

    // Of what was before nobody is told.
    let quiet = run("kill -9 $$").run().await;
    assert!(!quiet.fails().stderr().contains("memory"), "{}", quiet.stderr());
    let ended = run("cd group; echo 'oom_kill 4' >new; mv new memory.events; kill -9 $$").run().await;
    let advice =
        format!("on your laptop `ssh {}@BASTION devctl update train --flavor NAME` gives it more", alice.name());
    ended.fails().says(&format!("{}4Gi); {advice}", told("4Gi")));
    prompt.shows(&told("4Gi")).await;
    drawing.shows(&told("4Gi")).await;
    // Whoever types has read it; the program draws its own screen anew.
    let clean = |rows: &[String]| !rows.iter().any(|row| row.contains("bastion: "));
    drawing.types("=").await;
    drawing.shows_rows("a clean screen", clean).await;
    assert!(drawing.is_full_screen());
    // As a shell tells of a program of its own.
    let again = run("cd group; echo 'oom_kill 5' >new; mv new memory.events; sh -c 'kill -9 $$'; exit 137").run().await;
    again.exits(137).says(&told("4Gi"));
    bystander.closes_stdin();
    let bystander = bystander.finish().await;
    assert_eq!(bystander.exits(0).stderr(), "", "a program may read it");
    drawing.types("q").await;
    drawing.exits(0).await;

    let is_told = |activity: &Activity| {
        activity.peak_memory.as_ref().is_some_and(|peak| peak.0 == "4Gi") && activity.last_out_of_memory_time.is_some()
    };
    eventually("the status tells it", async || alice.has::<DevServer>("train").await.status?.activity.filter(&is_told))
        .await;
    let why = observed().command("devctl why").run().await;
    let why = why.exits(0).text();
    assert!(why.contains("as memory ran out (4Gi in use at most); `devctl update train"), "{why}");
    let described = observed().command("devctl describe").run().await;
    let described = described.exits(0).text();
    assert!(described.contains("4Gi in use at most") && described.contains("a program was ended"), "{described}");
    drop(watched);
}

#[tokio::test]
async fn a_program_that_the_kernel_ends_is_told_of_with_the_limit() {
    skip_unless!(is_real() && has_agents(), "the embedded cluster limits no memory");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.add_devserver_with("train", json!({})).await;
    let run = |command: &str| shell(&product, &alice).command(command);
    let alone =
        run("test -e /sys/fs/cgroup/memory/memory.oom_control || test \"$(cat /sys/fs/cgroup/memory.oom.group)\" = 0");
    skip_unless!(alone.run().await.succeeded(), "this kernel ends all of a container at once");
    let mut prompt = shell(&product, &alice).terminal(24, 200);
    prompt.types("echo $((40+2))\r").await;
    prompt.shows_row("42").await;
    // The flavor's limit is 1Gi.
    let ended = run("exec python3 -c \"b'x' * (3 << 30)\"").run().await;
    ended.fails().says(&told("1Gi"));
    prompt.shows(&told("1Gi")).await;
    run("echo in").run().await.exits(0).prints("in\n");
}
