//! The client of the cluster's API that all parts share.

use anyhow::{Context, Result};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use tower::{BoxError, ServiceBuilder};

/// kube's own leaves Nagle's algorithm on, which holds back the end of each write until the API server has acknowledged
/// the one before: up to 40 ms of standstill for every window of an upload.
pub(super) fn new(config: &kube::Config) -> Result<kube::Client> {
    // The one there is; whoever came first has installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(config.connect_timeout);
    let tls = config.rustls_https_connector_with_connector(tcp).context("failed to set up TLS to the cluster")?;
    let http: legacy::Client<_, kube::client::Body> = legacy::Client::builder(TokioExecutor::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().context("failed to read the cluster's credentials")?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}
