//! Several `bastion operator` on one cluster: one works, the others stand by.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Product, Server, free_port, is_real, pod_settings};

fn operator(product: &Product, lease: &str) -> Server {
    let config = product.folder().join(format!("{lease}.toml"));
    // The product's own operator works beside these: with other defaults they would replace each other's pods.
    let image = if is_real() { pod_settings() } else { String::new() };
    let text = format!("[operator]\n{image}[operator.lease]\nname = \"{lease}\"\nduration = \"4s\"\nretry = \"1s\"\n");
    std::fs::write(&config, text).expect("the folder is ours");
    let port = free_port();
    Server::start(&["operator", "--config", config.to_str().expect("plain")], |command| {
        command.env("KUBECONFIG", product.kubeconfig()).env("POD_NAMESPACE", product.namespace());
        command.env("BASTION_TELEMETRY__LISTEN", format!("127.0.0.1:{port}"));
    })
}

#[tokio::test]
async fn a_second_operator_takes_over_from_the_first() {
    let product = Product::undisturbed().await;
    let lease = format!("e2e-{}", std::process::id());
    let mut first = operator(&product, &lease);
    first.ready().await;
    let mut second = operator(&product, &lease);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(second.is_running() && second.stdout().is_empty(), "two lead: {}", second.stdout());

    first.signal(Signal::TERM);
    assert!(first.ends_within(Duration::from_secs(10)).await.success());
    second.ready().await;

    // One that dies says nothing; its lease runs out.
    let mut third = operator(&product, &lease);
    second.signal(Signal::KILL);
    third.ready().await;
    let alice = product.user("alice").await;
    alice.ssh("echo in").run().await.exits(0).prints("in\n");
}
