//! The client of the cluster's API that all parts share.

use std::time::Duration;

use anyhow::{Context, Result};
use http::{Request, header};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ConfigExt};
use tokio::time::timeout;
use tower::{BoxError, ServiceBuilder, service_fn};

use super::read_ahead::ReadAhead;

/// A connection on which nothing comes for so long is asked whether it lives.
const QUIET: Duration = Duration::from_secs(30);
/// Between two such questions.
const AGAIN: Duration = Duration::from_secs(10);
/// Of these, until it is dead.
const QUESTIONS: u32 = 3;
/// The API server gives up by itself what takes a minute. One whose host is gone says nothing, and what was written to
/// it keeps the kernel from asking. (The kernel's own limit for that, TCP_USER_TIMEOUT, also ends execs whose stdin is
/// not read for as long.)
const ANSWERED: Duration = Duration::from_secs(75);

/// kube's own leaves Nagle's algorithm on, which holds back the end of each write until the API server has acknowledged
/// the one before: up to 40 ms of standstill for every window of an upload.
pub(super) fn new(config: &kube::Config) -> Result<kube::Client> {
    // The one there is; whoever came first has installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(config.connect_timeout);
    tcp.set_keepalive(Some(QUIET));
    tcp.set_keepalive_interval(Some(AGAIN));
    tcp.set_keepalive_retries(Some(QUESTIONS));
    let tcp = ServiceBuilder::new()
        .map_response(|tcp: TokioIo<_>| TokioIo::new(ReadAhead::new(tcp.into_inner())))
        .service(tcp);
    let tls = config.rustls_https_connector_with_connector(tcp).context("failed to set up TLS to the cluster")?;
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().context("failed to read the cluster's credentials")?)
        .layer(config.extra_headers_layer()?)
        .service(service_fn(move |request: Request<Body>| {
            let (may_wait, answer) = (may_wait(&request), http.request(request));
            async move {
                match may_wait {
                    true => Ok(answer.await?),
                    false => Ok::<_, BoxError>(timeout(ANSWERED, answer).await??),
                }
            }
        }));
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// Whether the answer begins only with what a node has to say.
fn may_wait(request: &Request<Body>) -> bool {
    request.headers().contains_key(header::UPGRADE) || request.uri().path().ends_with("/log")
}
