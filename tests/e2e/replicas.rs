//! Several `bastion serve` on one cluster.

use bastion::api::DevServer;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

use crate::harness::Product;

#[tokio::test]
async fn replicas_share_a_host_key() {
    let product = Product::shared().await;
    let (one, two) = tokio::join!(product.serve(&[]), product.serve(&[]));
    let later = product.serve(&[]).await;
    assert_eq!(one.host_key(), two.host_key());
    assert_eq!(one.host_key(), later.host_key());
}

#[tokio::test]
async fn a_new_user_at_two_replicas_at_once_gets_one_devserver() {
    let product = Product::shared().await;
    let (one, two) = tokio::join!(product.serve(&[]), product.serve(&[]));
    for _ in 0..3 {
        let alice = product.user("alice").await;
        tokio::join!(alice.is_known_at(&one), alice.is_known_at(&two));
        let (here, there) = tokio::join!(
            alice.ssh_at(&one, "echo here >>both; sleep 1; sort both").run(),
            alice.ssh_at(&two, "echo there >>both; sleep 1; sort both").run(),
        );
        here.exits(0);
        there.exits(0);
        alice.ssh_at(&one, "sort both").run().await.exits(0).prints("here\nthere\n");
        let devservers = alice.api::<DevServer>().list(&ListParams::default()).await.expect("they can be listed");
        assert_eq!(devservers.items.len(), 1);
        let pods = alice.api::<Pod>().list(&ListParams::default()).await.expect("they can be listed");
        assert_eq!(pods.items.len(), 1);
    }
}

#[tokio::test]
async fn a_session_at_one_replica_meets_what_another_left() {
    let product = Product::shared().await;
    let (one, two) = tokio::join!(product.serve(&[]), product.serve(&[]));
    let alice = product.user("alice").await;
    tokio::join!(alice.is_known_at(&one), alice.is_known_at(&two));
    alice.ssh_at(&one, "echo left >behind").run().await.exits(0);
    alice.ssh_at(&two, "cat behind").run().await.exits(0).prints("left\n");
}
