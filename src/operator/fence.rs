//! Keeps a leader from writing once it cannot be sure that it leads. A process that was stopped for a while, or a
//! machine that slept, goes on where it was, with what it knew then, and finds out late that another one leads.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use tower::BoxError;

use super::uptime::uptime;

/// Until when it is open.
#[derive(Clone)]
pub(super) struct Fence(Arc<Mutex<Duration>>);

impl Fence {
    /// Open for so long, unless [`Self::open_for`] says otherwise.
    pub(super) fn new(time: Duration) -> Self {
        Self(Arc::new(Mutex::new(uptime() + time)))
    }

    pub(super) fn open_for(&self, time: Duration) {
        *self.0.lock() = uptime() + time;
    }

    fn is_open(&self) -> bool {
        uptime() < *self.0.lock()
    }

    /// `client`, which only reads once the fence is closed.
    pub(super) fn guard(&self, client: &Client) -> Client {
        let (fence, inner) = (self.clone(), client.clone());
        let namespace = client.default_namespace().to_owned();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (fence, inner) = (fence.clone(), inner.clone());
            async move {
                if request.method() != Method::GET && !fence.is_open() {
                    return Err(BoxError::from("this operator may not lead any more"));
                }
                inner.send(request).await.map_err(BoxError::from)
            }
        });
        Client::new(service, namespace)
    }
}

#[cfg(test)]
#[cfg(feature = "embedded")]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use kube::Api;
    use kube::api::{Patch, PatchParams, PostParams};
    use kube::runtime::wait::await_condition;
    use serde_json::json;
    use tokio::sync::oneshot;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::api::{self, DevServer, DevServerSpec, DevServerUser, DevServerUserSpec, Phase};
    use crate::minik8s;
    use crate::operator::{
        self,
        tests::{sent::Sent, settings},
    };

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn operate(client: Client, leads: oneshot::Sender<()>, shutdown: CancellationToken) {
        let (mut config, provisioning) = settings();
        config.lease.retry = Duration::from_millis(100);
        config.lease.duration = Duration::from_secs(12);
        let ready = || leads.send(()).unwrap_or_default();
        operator::run(client, config, provisioning, Vec::new(), ready, shutdown).await.unwrap();
    }

    async fn until(servers: &Api<DevServer>, image: Option<&str>) {
        let image = image.map(str::to_owned);
        let runs = |server: Option<&DevServer>| {
            server.is_some_and(|server| {
                let told = server.status.as_ref().filter(|status| status.phase == Phase::Running);
                let observed = told.and_then(|status| status.observed_generation);
                server.spec.image == image && observed == server.metadata.generation
            })
        };
        timeout(PATIENCE, await_condition(servers.clone(), "dev", runs)).await.expect("it runs").unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_leader_that_was_stopped_past_its_lease_writes_nothing_when_it_goes_on() {
        let (cluster, client, _data) = minik8s::Cluster::start_for_a_test(api::crds()).await;

        // The first one has a thread of its own, which can be held.
        let (sent, first_shutdown) = (Sent::default(), CancellationToken::new());
        let (held, is_held) = oneshot::channel::<()>();
        let (release, released) = mpsc::channel::<()>();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let (lead, leads) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .stack_size(16 << 20)
            .spawn({
                let (config, sent, shutdown) = (cluster.client_config(), sent.clone(), first_shutdown.clone());
                move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let client = sent.through(&Client::try_from(config).unwrap());
                        tokio::spawn(async move {
                            is_held.await.unwrap();
                            go_on.send(()).unwrap();
                            released.recv().unwrap();
                        });
                        Box::pin(operate(client, lead, shutdown)).await;
                    });
                }
            })
            .unwrap();
        timeout(PATIENCE, leads).await.unwrap().unwrap();
        let users: Api<DevServerUser> = Api::all(client.clone());
        let alice = DevServerUser::new("alice", DevServerUserSpec::default());
        users.create(&PostParams::default(), &alice).await.unwrap();
        let servers: Api<DevServer> = Api::namespaced(client.clone(), "dev-alice");
        let dev = DevServer::new("dev", DevServerSpec::default());
        let deadline = Instant::now() + PATIENCE;
        while servers.create(&PostParams::default(), &dev).await.is_err() {
            assert!(Instant::now() < deadline, "her namespace is made");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        until(&servers, None).await;

        held.send(()).unwrap();
        tokio::task::spawn_blocking(move || goes_on.recv().unwrap()).await.unwrap();
        let (lead, leads) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let second = tokio::spawn(operate(client.clone(), lead, shutdown.clone()));
        timeout(PATIENCE, leads).await.unwrap().unwrap();
        for image in ["one", "two"] {
            let patch = Patch::Merge(json!({ "spec": { "image": image } }));
            servers.patch("dev", &PatchParams::default(), &patch).await.unwrap();
            until(&servers, Some(image)).await;
        }

        let (looks, writes) = (sent.looks(), sent.writes());
        release.send(()).unwrap();
        // It finds out that another one leads, and then stands by.
        sent.has_looks(looks + 4).await;
        assert_eq!(sent.writes()[writes.len()..], []);

        shutdown.cancel();
        second.await.unwrap();
        first_shutdown.cancel();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        cluster.stop().await;
    }
}
