//! Homes that were there before their DevServers.

use super::*;

fn claim(spec: serde_json::Value) -> PersistentVolumeClaim {
    serde_json::from_value(json!({ "metadata": { "name": "dev-home" }, "spec": spec })).unwrap()
}

#[tokio::test]
async fn a_home_that_somebody_restored_is_taken_over_as_it_is() {
    let scene = Scene::start().await;
    let restored = claim(json!({
        "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "5Gi" } },
    }));
    let restored = scene.hers::<PersistentVolumeClaim>().create(&PostParams::default(), &restored).await.unwrap();
    scene.create("dev", DevServerSpec::default()).await;
    scene.phase("dev", Phase::Running).await;
    let home = scene.hers::<PersistentVolumeClaim>().get("dev-home").await.unwrap();
    assert_eq!(home.uid(), restored.uid());
    let (spec, was) = (home.spec.clone().unwrap(), restored.spec.unwrap());
    assert_eq!((spec.access_modes, spec.resources), (was.access_modes, was.resources));
    assert_eq!(home.labels()[names::DEVSERVER_LABEL], "dev");
    let server = scene.hers::<DevServer>().get("dev").await.unwrap();
    assert_eq!(server.status.unwrap().message, None, "all is as it was asked for");
    scene.stop().await;
}
