//! What an operator asks of the cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use tower::BoxError;

/// What a client sends, in order.
#[derive(Clone, Default)]
pub(in crate::operator) struct Sent(Arc<Mutex<Vec<(Method, String)>>>);

impl Sent {
    pub(in crate::operator) fn through(&self, client: &Client) -> Client {
        let (sent, inner) = (self.clone(), client.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            sent.0.lock().push((request.method().clone(), request.uri().path().to_owned()));
            let inner = inner.clone();
            async move { inner.send(request).await.map_err(BoxError::from) }
        });
        Client::new(service, "default")
    }

    /// How often the lease was read.
    pub(in crate::operator) fn looks(&self) -> usize {
        self.0.lock().iter().filter(|(method, path)| method == Method::GET && is_lease(path)).count()
    }

    /// Waits until it was read so often: it was looked who leads.
    pub(in crate::operator) async fn has_looks(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.looks() < count {
            assert!(Instant::now() < deadline, "the lease was read {} times, not {count}", self.looks());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(in crate::operator) fn writes(&self) -> Vec<(Method, String)> {
        let all = self.0.lock();
        all.iter().filter(|(method, path)| method != Method::GET && !is_lease(path)).cloned().collect()
    }
}

fn is_lease(path: &str) -> bool {
    path.contains("/leases")
}
