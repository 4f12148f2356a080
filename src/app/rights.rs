//! Waits until the cluster knows of rights that were just given: an API server hears of a role binding a moment after
//! it has written it.

use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use tokio::time::{sleep, timeout};

use crate::api::DevServer;

const PATIENCE: Duration = Duration::from_secs(2);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks as who has them: `client` acts for her. One binding gives her all that she may do, so one answer tells; what it
/// tells after a while is told by whatever she does next.
pub(super) async fn heard(client: &kube::Client, namespace: &str) {
    let servers: Api<DevServer> = Api::namespaced(client.clone(), namespace);
    let refused = async {
        while is_refused(servers.list(&ListParams::default().limit(1)).await) {
            sleep(PAUSE).await;
        }
    };
    let _ = timeout(PATIENCE, refused).await;
}

fn is_refused<T>(answer: kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.is_forbidden())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;

    /// The first words of a new user were answered with "the cluster does not let you".
    #[tokio::test]
    async fn rights_are_asked_for_until_they_are_heard_of() {
        let asked = Arc::new(AtomicU32::default());
        let count = asked.clone();
        let cluster = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let known = count.fetch_add(1, Ordering::Relaxed) == 2;
            let refusal = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"});
            let list = json!({"kind": "DevServerList", "apiVersion": "devserver.io/v1", "metadata": {}, "items": []});
            let (code, body) = if known { (200, list) } else { (403, refusal) };
            let answer =
                http::Response::builder().status(code).body(kube::client::Body::from(body.to_string().into_bytes()));
            async move { answer }
        });
        heard(&kube::Client::new(cluster, "default"), "dev-alice").await;
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}
