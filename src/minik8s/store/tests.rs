use super::*;
use futures::FutureExt;

fn pod(name: &str) -> Key {
    Key::new("pods", "default", name)
}

fn put(store: &Store, key: &Key, content: &str) -> Arc<Value> {
    store
        .write::<Error>(key, |_| {
            Ok(Some(json!({
                "metadata": {"name": key.name, "namespace": key.namespace, "uid": "u"},
                "spec": content,
            })))
        })
        .unwrap()
}

fn remove(store: &Store, key: &Key) {
    store.write::<Error>(key, |_| Ok(None)).unwrap();
}

#[tokio::test]
async fn a_follower_sees_every_change_in_order() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let mut cursor = store.follow(store.revision());
    put(&store, &pod("a"), "1");
    put(&store, &pod("a"), "2");
    remove(&store, &pod("a"));

    let seen = cursor.next().await.unwrap();
    let changes: Vec<_> = seen.iter().map(|event| event.change).collect();
    assert_eq!(changes, [Change::Added, Change::Modified, Change::Deleted]);
    assert!(cursor.next().now_or_never().is_none(), "nothing more to tell");
}

#[tokio::test]
async fn writing_the_same_is_no_change() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let first = put(&store, &pod("a"), "1");
    let again = put(&store, &pod("a"), "1");
    assert_eq!(object::revision(&first), object::revision(&again));
    assert_eq!(store.revision().to_string(), object::revision(&first));
}

#[tokio::test]
async fn a_follower_too_far_behind_is_told() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::with_log(data.path(), 4).unwrap();
    let mut cursor = store.follow(store.revision());
    for content in ["1", "2", "3", "4", "5"] {
        put(&store, &pod("a"), content);
    }
    assert_eq!(cursor.next().await.unwrap_err(), Expired);
}

#[test]
fn objects_and_revisions_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("objects");
    let store = Store::open(&folder).unwrap();
    put(&store, &pod("a"), "1");
    put(&store, &pod("b"), "1");
    remove(&store, &pod("b"));
    let last = store.revision();
    drop(store);

    let store = Store::open(&folder).unwrap();
    assert_eq!(store.get(&pod("a")).unwrap()["spec"], "1");
    assert!(store.get(&pod("b")).is_none());
    put(&store, &pod("c"), "1");
    assert!(store.revision() > last, "a revision is never used twice");
}

#[test]
fn an_unreadable_file_is_set_aside() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("objects");
    let store = Store::open(&folder).unwrap();
    put(&store, &pod("a"), "1");
    put(&store, &pod("b"), "1");
    drop(store);
    std::fs::write(folder.join("pods/default/a.json"), "{half").unwrap();

    let store = Store::open(&folder).unwrap();
    assert!(store.get(&pod("a")).is_none());
    assert!(store.get(&pod("b")).is_some());
    assert!(data.path().join("objects-unreadable/pods_default_a.json").exists());
}

#[test]
fn a_list_is_one_resource_in_one_namespace_or_all() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    put(&store, &Key::new("pods", "a", "1"), "");
    put(&store, &Key::new("pods", "b", "2"), "");
    put(&store, &Key::new("podtemplates", "a", "3"), "");
    assert_eq!(store.list("pods", "").1.len(), 2);
    assert_eq!(store.list("pods", "b").1.len(), 1);
}
