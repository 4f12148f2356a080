//! JetBrains Gateway.

use super::{SERVER, Talk};
use crate::forwards::{connect, exchange};
use crate::harness::{Laptop, eventually, free_port, with_agents};

/// Stands in for the worker, which answers line by line on stdio.
const WORKER: &str = "#!/bin/sh\nwhile read -r line; do echo \"answer:$line\"; done\n";

/// Known from users' logs (github/codespaces-jetbrains-feedback 13 and 59, coder/coder 16762): a worker is put into
/// `~/.cache/JetBrains/RemoteDev/remote-dev-worker` by SFTP, under a name that ends in `.tmp` until it is whole, and
/// runs on stdio; the IDE, started by `remote-dev-server.sh run`, stays when Gateway leaves, and is reached by a
/// forward to the port of its link `tcp://127.0.0.1:PORT`.
#[tokio::test]
async fn jetbrains_deploys_a_worker_and_an_ide_that_stays() {
    let Some((product, [alice])) = with_agents(["alice"]).await else { return };
    let laptop = Laptop::new(&alice, product.front());
    laptop.write("worker", WORKER);
    laptop.write("server", SERVER);
    let folder = ".cache/JetBrains/RemoteDev/remote-dev-worker";
    let parents = ".cache .cache/JetBrains .cache/JetBrains/RemoteDev";
    let folders: String = parents.split(' ').chain([folder]).map(|folder| format!("-mkdir {folder}\n")).collect();
    let (whole, part) =
        (format!("{folder}/remote-dev-worker_8be4"), format!("{folder}/remote-dev-worker_8be4.855.tmp"));
    let batch = format!(
        "{folders}put worker {part}\nchmod 700 {part}\nrename {part} {whole}\nls -l {folder}\nput server server\n"
    );
    laptop.run_with("sftp", &["-b", "-", "pod"], batch.as_bytes()).await.exits(0);

    let mut worker = Talk::start(&laptop, "ssh", &["pod", &format!("/bin/sh -c 'exec ~/{whole}'")]);
    for line in ["host-status", "list-projects"] {
        worker.types(&format!("{line}\n")).await;
        assert_eq!(worker.hears("answer:").await, line);
    }
    // What the session's end must not take along: it ignores hang-ups, and has nothing of the session's.
    let start = "nohup python3 ~/server run ~/project >ide.log 2>&1 </dev/null & echo pid:$!; exec sleep 98760.1";
    let mut ide = Talk::start(&laptop, "ssh", &["pod", start]);
    let pid = ide.hears("pid:").await;
    let there = eventually("the IDE's port", async || {
        let log = alice.ssh("cat ide.log 2>/dev/null; true").run().await.text();
        log.strip_prefix("Extension host agent listening on ").map(|port| port.trim().to_owned())
    })
    .await;
    let here = free_port();
    let forward = ["-N", "-L", &format!("127.0.0.1:{here}:127.0.0.1:{there}"), "pod"];
    let tunnel = laptop.start("ssh", &forward);
    assert_eq!(exchange(connect(here).await, b"join").await, b"JOIN");
    drop(tunnel);
    ide.kill().await;
    worker.kill().await;
    alice.has_processes("98760.1", 0).await;
    let here = free_port();
    let _tunnel = laptop.start("ssh", &["-N", "-L", &format!("127.0.0.1:{here}:127.0.0.1:{there}"), "pod"]);
    assert_eq!(exchange(connect(here).await, b"join again").await, b"JOIN AGAIN");
    alice.ssh(&format!("kill {pid}")).run().await.exits(0);
}
