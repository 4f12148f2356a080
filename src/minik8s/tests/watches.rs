//! What follows objects, and which of them.

use super::*;
use futures::{StreamExt, TryStreamExt};
use kube::{
    api::{DeleteParams, ListParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt, reflector, watcher},
};

#[tokio::test]
async fn a_watch_replays_bookmarks_and_expires() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    let before = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();

    let params = WatchParams::default().timeout(1);
    let events: Vec<_> = maps.watch(&params, &before).await.unwrap().try_collect().await.unwrap();
    assert!(
        matches!(&events[..], [WatchEvent::Added(_), WatchEvent::Deleted(_), WatchEvent::Bookmark(_)]),
        "{events:?}"
    );
    let events: Vec<_> = maps.watch(&params, "1").await.unwrap().try_collect().await.unwrap();
    assert!(matches!(&events[..], [WatchEvent::Added(_), ..]), "all since the start: {events:?}");

    let running = running.restart().await;
    let maps = running.within::<ConfigMap>("default");
    let events: Vec<_> = maps.watch(&params, &before).await.unwrap().try_collect().await.unwrap();
    let [WatchEvent::Error(status)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_reflector_follows_across_a_restart() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    let strategies = [watcher::Config::default(), watcher::Config::default().streaming_lists()];
    let stores: Vec<_> = strategies
        .into_iter()
        .map(|config| {
            let (store, writer) = reflector::store::<ConfigMap>();
            let follow = watcher(maps.clone(), config).default_backoff().reflect(writer);
            tokio::spawn(follow.for_each(|_| std::future::ready(())));
            store
        })
        .collect();
    let has = |name: &str| {
        let of = reflector::ObjectRef::new(name).within("default");
        stores.iter().all(|store| store.get(&of).is_some())
    };
    maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    eventually("the first object is seen", || has("a")).await;
    let running = running.restart().await;
    let maps = running.within::<ConfigMap>("default");
    maps.create(&PostParams::default(), &config_map("b", "1")).await.unwrap();
    eventually("the second object is seen", || has("a") && has("b")).await;
    running.cluster.stop().await;
}

#[tokio::test]
async fn selectors_choose() {
    let running = Running::start().await;
    let maps = running.within::<ConfigMap>("default");
    for (name, tier) in [("a", "x"), ("b", "y")] {
        let mut map = config_map(name, "1");
        map.metadata.labels = Some([("tier".to_owned(), tier.to_owned())].into());
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let names = async |params: ListParams| -> Vec<String> {
        let list = maps.list(&params).await.unwrap();
        list.into_iter().map(|map| map.metadata.name.unwrap()).collect()
    };
    assert_eq!(names(ListParams::default().labels("tier in (x,z)")).await, ["a"]);
    assert_eq!(names(ListParams::default().fields("metadata.name=b")).await, ["b"]);
    assert_eq!(code(maps.list(&ListParams::default().fields("data.key=1")).await).0, 400);
    running.cluster.stop().await;
}
