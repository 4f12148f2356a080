//! The composition root: the only place that sees every module. One function for each role of the binary.

mod access;
mod answer;
mod client;
#[cfg(feature = "embedded")]
mod dev;
#[cfg(feature = "embedded")]
mod dev_objects;
mod host_key;
mod read_ahead;
mod rights;
mod served;

#[cfg(feature = "embedded")]
pub use dev::{Options as DevOptions, dev};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::cache::Cache;
use crate::config::Config;
use crate::identity::Authenticator;
use crate::workspace::Workspaces;
use crate::{operator, ssh, telemetry};

/// Tells on stdout that the process serves; scripts and people wait for this line.
#[allow(clippy::print_stdout, reason = "the one line that is for stdout")]
fn announce(text: &str) {
    println!("ready: {text}");
}

/// `bastion serve`: the SSH server, on the cluster that kubectl would use.
pub async fn serve(config: Config, shutdown: CancellationToken) -> Result<()> {
    let client = connect().await?;
    access::check(&client, access::SERVE).await?;
    let key = host_key::load(&config.ssh.host_key, &client).await?;
    serve_on(client, config, key, shutdown, |address| announce(&format!("listening on {address}"))).await
}

/// `bastion operator`: the controllers, while this replica holds the lease.
pub async fn operate(config: Config, shutdown: CancellationToken) -> Result<()> {
    let client = connect().await?;
    access::check(&client, access::OPERATE).await?;
    let listener = bind(config.telemetry.listen, "telemetry.listen").await?;
    tokio::spawn(telemetry::serve(listener, Arc::new(|| true), shutdown.clone()));
    let leading = || announce("leading");
    let code_hosts = config.identity.code_hosts_by_name();
    let run = operator::run(client, config.operator, config.provisioning, code_hosts, leading, shutdown);
    run.await.context("the operator failed")
}

/// For what sessions leave in pods, once nobody is served any more: a hang-up gives programs five seconds.
const CLEANUP: Duration = Duration::from_secs(10);

async fn connect() -> Result<kube::Client> {
    let config = kube::Config::infer().await.context("no cluster: set KUBECONFIG, or run inside one")?;
    info!(url = %config.cluster_url, "using cluster");
    client::new(&config)
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address} ({key})"))
}

/// Serves SSH and telemetry until `shutdown`, then drains. `ready` is told the address.
async fn serve_on(
    client: kube::Client,
    config: Config,
    key: russh::keys::PrivateKey,
    shutdown: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    let authority = Arc::new(ssh::Authority::new(&key).context("ssh.host_key")?);
    let keys = ssh::HostKeys::new(key, &config.ssh).context("ssh")?;
    let telemetry_listener = bind(config.telemetry.listen, "telemetry.listen").await?;
    let listener = bind(config.ssh.listen, "ssh.listen").await?;
    info!(address = %telemetry_listener.local_addr()?, "telemetry answers");

    // What sessions leave in pods is cleaned up, and caches go on, until the drain is over.
    let drained = CancellationToken::new();
    let tasks = TaskTracker::new();
    let cache = Cache::start(&client, &drained);
    let current = {
        let (cache, shutdown) = (cache.clone(), shutdown.clone());
        move || cache.is_current() && !shutdown.is_cancelled()
    };
    let telemetry = tokio::spawn(telemetry::serve(telemetry_listener, Arc::new(current), drained.clone()));
    tokio::select! {
        () = cache.ready() => {}
        () = shutdown.cancelled() => return Ok(()),
    }

    let authenticator = Authenticator::new(&config.identity, &cache).context("identity")?;
    let workspaces = Workspaces::new(client.clone(), cache, config.workspace, config.provisioning, tasks.clone());
    tokio::spawn(shutdown.clone().run_until_cancelled_owned({
        let workspaces = workspaces.clone();
        async move { workspaces.sample().await }
    }));
    let answer = answer::Devctl::new(client, workspaces.clone(), tasks.clone(), authority.clone());
    let server = ssh::Server::new(
        config.ssh,
        keys,
        authority,
        Arc::new(authenticator),
        Arc::new(workspaces.clone()),
        Arc::new(answer),
    );
    ready(listener.local_addr()?);
    server.run(listener, shutdown).await;

    tasks.close();
    if timeout(CLEANUP, workspaces.settled()).await.is_err() {
        warn!("the cluster did not let us clean up after all sessions");
    }
    drained.cancel();
    telemetry.await?;
    Ok(())
}
