//! What is asked of a cluster where nothing happens.

use bytes::Bytes;
use futures::{FutureExt, TryStreamExt, stream};
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::BoxError;

use super::*;

/// What a cluster was asked, but for what it is to tell by itself.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<(Method, String)>>>);

impl Asked {
    /// To a cluster where nothing happens.
    fn client(&self) -> Client {
        let asked = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            if uri.query().unwrap_or_default().contains("watch=true") {
                return std::future::ready(Ok::<_, BoxError>(Response::new(body(stream::pending()))));
            }
            asked.0.lock().push((method.clone(), uri.path().to_owned()));
            let answer = if method == Method::GET { list(uri.path()) } else { flavor() };
            let answer = Bytes::from(answer.to_string());
            std::future::ready(Ok(Response::new(body(stream::once(std::future::ready(Ok(answer)))))))
        });
        Client::new(service, "default")
    }

    fn lists(&self) -> Vec<String> {
        let asked = self.0.lock();
        let lists = asked.iter().filter(|(method, _)| method == Method::GET);
        let mut lists: Vec<_> = lists.map(|(_, path)| path.clone()).collect();
        lists.sort();
        lists
    }

    fn has_status(&self) -> bool {
        self.0.lock().iter().any(|(method, path)| method == Method::PATCH && path.ends_with("/small/status"))
    }
}

fn body(
    pieces: impl futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
) -> UnsyncBoxBody<Bytes, BoxError> {
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

fn flavor() -> Value {
    json!({
        "apiVersion": "devserver.io/v1", "kind": "DevServerFlavor",
        "metadata": { "name": "small" }, "spec": { "resources": {} }
    })
}

fn list(path: &str) -> Value {
    let items = match path.rsplit('/').next() {
        Some("devserverflavors") => json!([flavor()]),
        Some("nodes") => json!([{ "metadata": { "name": "node" } }]),
        _ => json!([]),
    };
    json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items })
}

#[tokio::test]
async fn all_is_listed_once_and_then_nothing_is_asked() {
    let asked = Asked::default();
    let unreadable = Unreadable::default();
    let mut running = Box::pin(run(asked.client(), BTreeMap::new(), false, &unreadable).fuse());
    let mut runs_for = async |time| drop(timeout(time, &mut running).await);
    let kinds = [
        "/api/v1/nodes",
        "/api/v1/pods",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/devserver.io/v1/devserverflavors",
    ];
    let deadline = Instant::now() + Duration::from_secs(60);
    while asked.lists() != kinds || !asked.has_status() {
        assert!(Instant::now() < deadline, "{:?}", asked.0.lock());
        runs_for(Duration::from_millis(20)).await;
    }
    runs_for(PAUSE * 2 + Duration::from_secs(1)).await;
    assert_eq!(asked.lists(), kinds);
}
