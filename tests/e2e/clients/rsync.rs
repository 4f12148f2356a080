//! rsync, by the ssh that it calls: straight into the pod, and through a jump.

use super::{alice, bytes};
use crate::harness::{Flood, Laptop, User, eventually, has_agents, is_installed, skip_unless};

const NO_RSYNC: &str = "rsync is not installed";

/// As large as takes a while at [`SLOWLY`], in bytes.
const LARGE: u64 = 12_000_000;
const SLOWLY: &str = "--bwlimit=3m";

async fn pod_has_rsync(alice: &User) -> bool {
    alice.ssh("command -v rsync >/dev/null").run().await.succeeded()
}

/// `-a` and `--delete` make two folders the same, and once they are, find nothing to do.
async fn mirrors(laptop: &Laptop, host: &str) {
    laptop.write("folder/one", bytes());
    laptop.write("folder/a name with spaces", "two");
    laptop.write("folder/deeper/three", "three");
    std::os::unix::fs::symlink("deeper/three", laptop.path("folder/link")).expect("the folder is ours");
    let there = format!("{host}:there");
    let up = async || laptop.run("rsync", &["-ai", "--delete", "folder/", &there]).await;
    up().await.exits(0).prints_line("<f+++++++++ one");
    up().await.exits(0).prints("");
    std::fs::remove_file(laptop.path("folder/deeper/three")).expect("it was written");
    laptop.write("folder/a name with spaces", "changed");
    up().await.exits(0).prints_line("*deleting   deeper/three");
    laptop
        .run("ssh", &[host, "cat 'there/a name with spaces'; readlink there/link; ls there/deeper"])
        .await
        .exits(0)
        .prints("changeddeeper/three\n");
    let back = laptop.run("rsync", &["-a", &format!("{there}/"), "back"]).await;
    back.exits(0);
    laptop.run("diff", &["-r", "--no-dereference", "folder", "back"]).await.exits(0).prints("");
}

#[tokio::test]
async fn rsync_makes_folders_the_same() {
    skip_unless!(is_installed("rsync"), NO_RSYNC);
    let (_product, alice, laptop) = alice().await;
    skip_unless!(pod_has_rsync(&alice).await, "the pod's image has no rsync");
    mirrors(&laptop, "pod").await;
}

#[tokio::test]
async fn rsync_makes_folders_the_same_through_a_jump() {
    skip_unless!(is_installed("rsync"), NO_RSYNC);
    let (_product, alice, laptop) = alice().await;
    skip_unless!(pod_has_rsync(&alice).await, "the pod's image has no rsync");
    laptop.knows_behind("beyond", "pod", "dev");
    mirrors(&laptop, "beyond").await;
}

/// Cut off in the midst of a large file, it sends only what was missing.
#[tokio::test]
async fn rsync_goes_on_where_it_was_cut_off() {
    skip_unless!(has_agents(), "the pods have no agent: what was cut off may go on there for a while");
    skip_unless!(is_installed("rsync"), NO_RSYNC);
    let (_product, alice, laptop) = alice().await;
    skip_unless!(pod_has_rsync(&alice).await, "the pod's image has no rsync");
    let flood = Flood::bytes(11, LARGE);
    let mut large = Vec::new();
    std::io::Read::read_to_end(&mut flood.clone(), &mut large).expect("it reads from memory");
    laptop.write("large", large);
    let name = format!("large-{}", alice.name());
    let there = format!("pod:{name}");
    let mut cut = laptop.start("rsync", &["--inplace", SLOWLY, "large", &there]);
    eventually("some of it", async || {
        let size = alice.ssh(&format!("stat -c %s {name}")).run().await.text();
        (size.trim().parse::<u64>().unwrap_or(0) > 500_000).then_some(())
    })
    .await;
    cut.kill().await.expect("it is our child");
    alice.has_processes(&name, 0).await;
    let resumed = laptop.run("rsync", &["--append-verify", "--stats", "--no-h", "large", &there]).await;
    let told = resumed.exits(0).text();
    let sent = told.lines().find_map(|line| line.strip_prefix("Literal data: ")?.strip_suffix(" bytes"));
    let sent: u64 = sent.and_then(|sent| sent.parse().ok()).unwrap_or_else(|| panic!("no such line: {told}"));
    assert!(sent < LARGE - 400_000, "{sent} of {LARGE} bytes were sent again");
    let digest = alice.ssh(&format!("sha256sum <{name} | cut -c1-64")).run().await;
    digest.exits(0).prints(&format!("{}\n", flood.sha256()));
}
