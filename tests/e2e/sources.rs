//! Where connections come from, and what that address may.

use std::net::Ipv4Addr;

use crate::harness::{LoadBalancer, Product, public};

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
        let ssh = balancer.ssh(&replica, alice.name()).key(alice.key()).command("echo in");
        ssh.run().await.exits(0).prints("in\n");
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
