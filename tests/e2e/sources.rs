//! Where connections come from, and what that address may.

use std::net::Ipv4Addr;

use crate::harness::{LoadBalancer, Product, Ssh, eventually, keygen, public};

const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 5022 22\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x13\x9e\0\x16";

#[tokio::test]
async fn a_load_balancer_tells_the_clients_address() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let files = format!("identity.registries=[{{ kind = \"files\", directory = \"{}\" }}]", folder.path().display());
    let mut replica = product.serve(&[&files, "ssh.proxy_protocol_from=[\"127.0.0.2/32\"]"]).await;
    let only_from = |address: &str| {
        let line = format!("from=\"{address}\" {}", public(alice.key()));
        std::fs::write(folder.path().join(alice.name()), line).expect("the folder is ours");
    };
    only_from("192.0.2.7");
    for header in [V1, V2] {
        let balancer = LoadBalancer::start(&replica, BALANCER, header).await;
        let ssh = balancer.ssh(&replica, alice.name()).key(alice.key()).command("echo $SSH_CLIENT");
        ssh.run().await.exits(0).prints(&format!("192.0.2.7 5022 {}\n", replica.port()));
    }
    assert_eq!(replica.server().log().matches("client=192.0.2.7:5022").count(), 2);

    only_from("127.0.0.0/8");
    let own = LoadBalancer::start(&replica, BALANCER, b"PROXY UNKNOWN\r\n").await;
    own.ssh(&replica, alice.name()).key(alice.key()).command("echo in").run().await.exits(0).prints("in\n");
    // Neither a load balancer without a header, nor a header from elsewhere.
    for (source, header) in [(BALANCER, &b""[..]), (Ipv4Addr::new(127, 0, 0, 3), V1)] {
        let balancer = LoadBalancer::start(&replica, source, header).await;
        let ssh = balancer.ssh(&replica, alice.name()).key(alice.key()).command("echo in");
        ssh.run().await.exits(255).prints("");
    }
    alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn a_source_that_fails_to_log_in_is_refused_for_a_while() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let penalties = ["exempt=[]", "no_auth=0s", "auth_failed=1m", "min=10s", "max=10s"];
    let settings = penalties.map(|setting| format!("ssh.penalties.{setting}"));
    let mut replica = product.serve(&settings.each_ref().map(String::as_str)).await;
    alice.ssh_at(&replica, "echo in").run().await.exits(0).prints("in\n");

    let wrong = keygen(product.folder(), &format!("{}-wrong", alice.name()), "ed25519");
    Ssh::new(&replica, alice.name()).key(&wrong).command("echo in").run().await.exits(255).prints("");
    let log = eventually("the penalty is told", async || {
        Some(replica.server().log()).filter(|log| log.contains("penalised"))
    })
    .await;
    let outcome = log.lines().find(|line| line.contains("left without a login")).expect("it is told");
    assert!(
        outcome.contains("INFO") && outcome.contains(alice.name()) && outcome.contains("not one of the user's keys"),
        "{log}"
    );

    let refused = alice.ssh_at(&replica, "echo in").argument("-v").run().await;
    refused.exits(255).prints("").says("Not allowed at this time");
    let elsewhere = LoadBalancer::start(&replica, Ipv4Addr::new(127, 0, 0, 4), b"").await;
    let ssh = elsewhere.ssh(&replica, alice.name()).key(alice.key()).command("echo in");
    ssh.run().await.exits(0).prints("in\n");
    eventually("the penalty is over", async || {
        (alice.ssh_at(&replica, "echo in").run().await.text() == "in\n").then_some(())
    })
    .await;
}
