//! What operators of the product see.

use crate::harness::{Product, eventually};

#[tokio::test]
async fn probes_answer() {
    let product = Product::shared().await;
    let (status, _) = product.front().get("/livez").await.expect("it answers");
    assert_eq!(status, 200);
    let (status, _) = eventually("readiness", async || product.front().get("/readyz").await).await;
    assert_eq!(status, 200);
    let (status, _) = product.front().get("/nothing").await.expect("it answers");
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let replica = product.serve(&[]).await;
    let (_, before) = replica.get("/metrics").await.expect("it answers");
    assert!(before.contains("# TYPE"), "{before}");
    alice.ssh_at(&replica, "echo in").run().await.exits(0);
    alice.shell_at(&replica).login("nobody-here").command("echo in").run().await.exits(255);
    let sum = async |labels: [&str; 2]| {
        let (_, metrics) = replica.get("/metrics").await.expect("it answers");
        let has = |line: &&str| !line.starts_with('#') && labels.iter().all(|label| line.contains(label));
        metrics.lines().filter(has).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    eventually("the connections", async || (sum(["connections", "_total"]).await >= 2.0).then_some(())).await;
    eventually("the logins", async || (sum(["login", "_total"]).await >= 2.0).then_some(())).await;
    eventually("the session", async || (sum(["sessions", "_total"]).await >= 1.0).then_some(())).await;
    eventually("the bytes", async || (sum(["bytes", "_total"]).await >= 3.0).then_some(())).await;
}
