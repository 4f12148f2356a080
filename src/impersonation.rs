//! A client that acts as somebody else.

use http::{HeaderValue, Request};
use kube::client::Body;
use tower::service_fn;

/// A client whose every request the API server checks and logs as `username`'s. It sends through `base`, whose
/// connections it shares, and holds nothing of its own.
pub fn impersonate(base: &kube::Client, username: &str, namespace: &str) -> kube::Client {
    let base = base.clone();
    let username = HeaderValue::from_str(username).ok();
    let service = service_fn(move |mut request: Request<Body>| {
        let (base, username) = (base.clone(), username.clone());
        async move {
            // Never without it: the request would be the bastion's own.
            let username =
                username.ok_or_else(|| kube::Error::Service("a user name that no header can have".into()))?;
            request.headers_mut().insert("impersonate-user", username);
            base.send(request).await
        }
    });
    kube::Client::new(service, namespace)
}
