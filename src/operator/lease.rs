//! Leader election: at most one operator works at a time.

use std::time::Duration;

use kube::{Client, client::Body};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::fence::Fence;
use super::uptime::uptime;
use super::{Error, LeaseConfig};
use crate::api::names;
use crate::telemetry::chain;

/// Runs what `lead` makes of a client while this process holds the lease, drops it at once when the lease is lost, and
/// releases the lease at `shutdown`. That client writes nothing once the lease may be another one's.
pub(super) async fn run<F: Future<Output = ()>>(
    client: &Client,
    config: &LeaseConfig,
    mut lead: impl FnMut(Client) -> F,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let times = Times::of(config)?;
    let identity = identity();
    let impatient = impatient(client, times.request);
    while let Some(manager) = shutdown.run_until_cancelled(acquire(&impatient, config, &times, &identity)).await {
        info!(lease = config.name, identity, "leading");
        let fence = Fence::new(times.certainty());
        tokio::select! {
            () = shutdown.cancelled() => {
                release(&manager, &times).await;
                break;
            }
            () = lost(&manager, &times, &fence) => warn!(lease = config.name, identity, "lost the lease; stopped reconciling"),
            () = lead(fence.guard(client)) => {}
        }
    }
    Ok(())
}

/// How the lease's duration is spent: renewed when a third of it is gone; what is left is for failing renewals.
struct Times {
    duration: u64,
    grace: u64,
    request: Duration,
    retry: Duration,
}

impl Times {
    fn of(config: &LeaseConfig) -> Result<Self, Error> {
        let duration = config.duration.as_secs();
        if duration < 3 {
            return Err(Error::LeaseDuration(config.duration));
        }
        let grace = duration * 2 / 3;
        Ok(Self { duration, grace, request: Duration::from_secs(grace) / 4, retry: config.retry })
    }

    /// How long after the first failed renewal renewing is tried again. The failed one and the last one take a
    /// request's time each, and all must be over before the lease runs out and another operator begins.
    fn patience(&self) -> Duration {
        Duration::from_secs(self.grace).saturating_sub(self.request * 3)
    }

    /// How long the lease is ours for sure after a renewal was not told to have failed. The last one that worked began
    /// a renewal's interval and a request's time before that, at most.
    fn certainty(&self) -> Duration {
        Duration::from_secs(self.grace).saturating_sub(self.request)
    }
}

/// Each attempt reads the lease anew: the manager itself would sleep until the old holder's time is up,
/// even when that holder released the lease long before.
async fn acquire(client: &Client, config: &LeaseConfig, times: &Times, identity: &str) -> LeaseManager {
    loop {
        match build(client, config, times, identity).await {
            Ok(manager) => match timeout(times.retry, manager.changed()).await {
                Ok(Ok(true)) => return manager,
                Ok(Ok(false)) | Err(_) => continue,
                Ok(Err(error)) => {
                    warn!(error = chain(&error), lease = config.name, "failed to take the lease; trying again")
                }
            },
            Err(error) => warn!(error = chain(&error), lease = config.name, "failed to read the lease; trying again"),
        }
        sleep(times.retry).await;
    }
}

async fn build(
    client: &Client,
    config: &LeaseConfig,
    times: &Times,
    identity: &str,
) -> Result<LeaseManager, LeaseManagerError> {
    let namespace = config.namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    LeaseManagerBuilder::new(client.clone(), &config.name)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(times.duration)
        .with_grace(times.grace)
        .with_field_manager(format!("{}-{identity}", names::OPERATOR_FIELD_MANAGER))
        .build()
        .await
}

/// Renews the lease, and keeps the fence open as long; returns when it is no longer ours for sure.
async fn lost(manager: &LeaseManager, times: &Times, fence: &Fence) {
    let mut failing_since: Option<Instant> = None;
    loop {
        let began = uptime();
        // A renewal that fails is told within a request's time; one that works is silent, so silence is success.
        match timeout(times.request * 2, manager.changed()).await {
            Ok(Ok(false)) => return,
            Ok(Ok(true)) | Err(_) => {
                failing_since = None;
                // A wait that took far too long was none: this process was stopped or the machine slept, and nobody
                // listened.
                if uptime().saturating_sub(began) < times.request * 5 / 2 {
                    fence.open_for(times.certainty());
                }
            }
            Ok(Err(error)) => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                debug!(error = chain(&error), "failed to renew the lease");
                if since.elapsed() >= times.patience() {
                    return;
                }
                sleep(times.request / 4).await;
            }
        }
    }
}

async fn release(manager: &LeaseManager, times: &Times) {
    match timeout(times.request, manager.release()).await {
        Ok(Ok(())) => info!("released the lease"),
        Ok(Err(error)) => {
            warn!(error = chain(&error), "failed to release the lease; the next operator waits until it runs out")
        }
        Err(_) => warn!("failed to release the lease in time; the next operator waits until it runs out"),
    }
}

/// `client`, with each request given up after `limit`: a renewal that hangs must not look like one that works.
fn impatient(client: &Client, limit: Duration) -> Client {
    let namespace = client.default_namespace().to_owned();
    let inner = client.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let client = inner.clone();
        async move {
            match timeout(limit, client.send(request)).await {
                Ok(answer) => answer.map_err(tower::BoxError::from),
                Err(late) => Err(tower::BoxError::from(late)),
            }
        }
    });
    Client::new(service, namespace)
}

/// A pod's name is its host name; the rest tells two processes on one machine, or two starts of one, apart.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "operator".to_owned());
    format!("{host}-{:08x}", rand::random::<u32>())
}
