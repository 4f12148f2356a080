//! Several `bastion operator` on one cluster: one works, the others stand by.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use rustix::process::Signal;

use crate::harness::{Product, Server, eventually, free_port, is_real, pod_settings};

/// A sixth of it is what one answer of the API server may take.
const DURATION: Duration = Duration::from_secs(12);

fn operator(product: &Product, lease: &str) -> Server {
    let config = product.folder().join(format!("{lease}.toml"));
    // The product's own operator works beside these: with other defaults they would replace each other's pods.
    let image = if is_real() { pod_settings() } else { String::new() };
    let text = format!(
        "[operator]\n{image}[operator.lease]\nname = \"{lease}\"\nduration = \"{DURATION:?}\"\nretry = \"1s\"\n"
    );
    std::fs::write(&config, text).expect("the folder is ours");
    let port = free_port();
    Server::start(&["operator", "--config", config.to_str().expect("plain")], |command| {
        command.env("KUBECONFIG", product.kubeconfig()).env("POD_NAMESPACE", product.namespace());
        command.env("BASTION_TELEMETRY__LISTEN", format!("127.0.0.1:{port}"));
    })
}

/// When the lease's holder last renewed it.
async fn renewal(leases: &Api<Lease>, name: &str) -> Option<Timestamp> {
    let lease = leases.get_opt(name).await.expect("the API server answers")?;
    Some(lease.spec?.renew_time?.0)
}

#[tokio::test]
async fn a_second_operator_takes_over_from_the_first() {
    let product = Product::undisturbed().await;
    let leases: Api<Lease> = Api::default_namespaced(product.client());
    let lease = format!("e2e-{}", std::process::id());
    let mut first = operator(&product, &lease);
    first.ready().await;
    let mut second = operator(&product, &lease);
    eventually("the second one looks at the lease", async || second.log().contains("using cluster").then_some(()))
        .await;
    let from = renewal(&leases, &lease).await.expect("the first one holds it");
    let whole = SignedDuration::try_from(DURATION + Duration::from_secs(1)).expect("it is short");
    eventually("the lease is renewed for longer than it lasts", async || {
        let now = renewal(&leases, &lease).await?;
        (now.duration_since(from) > whole).then_some(())
    })
    .await;
    assert!(second.is_running() && second.stdout().is_empty(), "two lead: {}", second.stdout());

    first.signal(Signal::TERM);
    assert!(first.ends_within(Duration::from_secs(30)).await.success());
    second.ready().await;

    // One that dies says nothing; its lease runs out.
    let mut third = operator(&product, &lease);
    second.signal(Signal::KILL);
    third.ready().await;
    let alice = product.user("alice").await;
    alice.ssh("echo in").run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn an_operator_that_was_stopped_finds_another_one_leading_and_stands_by() {
    let product = Product::undisturbed().await;
    let lease = format!("e2e-stopped-{}", std::process::id());
    let mut first = operator(&product, &lease);
    first.ready().await;
    let alice = product.user("alice").await;
    alice.is_running().await;

    first.signal(Signal::STOP);
    let before = first.log().len();
    let mut second = operator(&product, &lease);
    second.ready().await;
    // Something to do for who believes to lead.
    alice.add_devserver("train").await;
    alice.loses_pod("dev").await;
    alice.is_running().await;

    first.signal(Signal::CONT);
    eventually("it knows that it leads no more", async || {
        first.log()[before..].contains("lost the lease").then_some(())
    })
    .await;
    for deed in ["pod made", "pod deleted"] {
        assert!(!first.log()[before..].contains(deed), "it acted: {}", &first.log()[before..]);
    }

    // It is as good as any other.
    second.signal(Signal::KILL);
    eventually("it leads again", async || {
        let log = first.log();
        let (_, after) = log[before..].split_once("lost the lease")?;
        after.contains("leading").then_some(())
    })
    .await;
}
