//! What clients other than kube's own count on.

use super::*;

#[tokio::test]
async fn a_lease_has_one_holder() {
    let running = Running::start().await;
    let manager = |holder: &str| {
        kube_lease_manager::LeaseManagerBuilder::new(running.client.clone(), "leader")
            .with_namespace("default")
            .with_identity(holder)
            .with_duration(8)
            .with_grace(4)
            .build()
    };
    let first = manager("one").await.unwrap();
    assert!(first.changed().await.unwrap());
    let second = manager("two").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), second.changed()).await.is_err());
    first.release().await.unwrap();
    assert!(tokio::time::timeout(PATIENCE, second.changed()).await.unwrap().unwrap());
    running.cluster.stop().await;
}

#[tokio::test]
async fn kubectl_is_shown_a_table() {
    let running = Running::start().await;
    let request = http::Request::get("/api/v1/namespaces?fieldSelector=metadata.name%3Ddefault")
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .body(Vec::new())
        .unwrap();
    let table: Value = running.client.request(request).await.unwrap();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..2], [json!("default"), json!("Active")]);
    running.cluster.stop().await;
}
