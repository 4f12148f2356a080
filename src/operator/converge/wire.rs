//! What is between the operator and the cluster, and can break.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use futures::TryStreamExt;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::sync::watch;
use tower::BoxError;

type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Clone)]
pub(super) struct Wire(Arc<State>);

struct State {
    down: AtomicBool,
    /// Whoever watches from before this revision has to list again.
    forgotten: AtomicU64,
    cut: watch::Sender<()>,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            down: AtomicBool::new(false),
            forgotten: AtomicU64::new(0),
            cut: watch::Sender::new(()),
        }))
    }

    /// Every answer that is on its way ends here.
    pub(super) fn cut(&self) {
        self.0.cut.send_replace(());
    }

    pub(super) fn down(&self) {
        self.0.down.store(true, SeqCst);
        self.cut();
    }

    pub(super) fn up(&self) {
        self.0.down.store(false, SeqCst);
    }

    /// What was before `revision` is no longer told, as after a compaction of etcd.
    pub(super) fn forget(&self, revision: u64) {
        self.0.forgotten.store(revision, SeqCst);
    }

    pub(super) fn client(&self, inner: &Client) -> Client {
        let (wire, inner) = (self.clone(), inner.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (wire, inner) = (wire.clone(), inner.clone());
            async move { wire.send(inner, request).await }
        });
        Client::new(service, "default")
    }

    async fn send(self, inner: Client, request: Request<Body>) -> Result<Response<AnyBody>, BoxError> {
        let mut cut = self.0.cut.subscribe();
        if self.0.down.load(SeqCst) {
            return Err("the wire is down".into());
        }
        if self.is_forgotten(&request) {
            return Ok(Response::new(whole(&gone())));
        }
        let answer = inner.send(request).await?;
        if cut.has_changed()? {
            return Err("the wire was cut".into());
        }
        Ok(answer.map(|body| {
            let until = async move {
                let _ = cut.changed().await;
            };
            let pieces = futures::StreamExt::take_until(body.into_data_stream(), Box::pin(until));
            StreamBody::new(pieces.map_ok(Frame::data).map_err(BoxError::from)).boxed_unsync()
        }))
    }

    fn is_forgotten(&self, request: &Request<Body>) -> bool {
        let query = request.uri().query().unwrap_or_default();
        let value = |wanted: &str| {
            let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == wanted);
            found.map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let from = value("resourceVersion").parse().unwrap_or(0_u64);
        !value("watch").is_empty() && from > 0 && from < self.0.forgotten.load(SeqCst)
    }
}

fn whole(text: &str) -> AnyBody {
    Full::new(Bytes::from(text.to_owned())).map_err(BoxError::from).boxed_unsync()
}

fn gone() -> String {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version",
    });
    format!("{}\n", json!({ "type": "ERROR", "object": status }))
}
