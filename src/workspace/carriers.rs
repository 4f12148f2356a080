//! One carrier to each pod that has an agent: opened at the first login, linked anew when its exec breaks, kept for a
//! while after the last session.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{Sink, SinkExt, StreamExt};
use tokio::sync::{OnceCell, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::{debug, info};

use super::agent::Agent;
use super::exec::{self, ExecRequest, Frame};
use super::listeners::Listeners;
use super::notices::Plans;
use super::{Cache, Config, Error, Workspace, activity};
use crate::api::names;
use crate::carrier::{self, Carrier, Hold, Keepalive, Link, News, Side};

/// The carriers of this process.
#[derive(Clone)]
pub(super) struct Carriers {
    client: kube::Client,
    keepalive: Keepalive,
    linger: Duration,
    reports: activity::Reports,
    plans: Plans,
    of_pods: Arc<DashMap<Workspace, Arc<OnceCell<Agent>>>>,
}

/// An agent whose carrier stays for as long as this does, and then for as long as there are streams.
pub(super) struct Held {
    agent: Agent,
    _hold: Hold,
}

/// Between two tries to link.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two looks whether a carrier is in use, at least.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Carriers {
    pub(super) fn new(client: kube::Client, cache: Cache, config: &Config, plans: Plans) -> Self {
        let keepalive = Keepalive { ping: config.exec_ping, patience: 3, grace: config.carrier_grace };
        let (linger, reports) = (config.carrier_linger, activity::Reports::new(client.clone(), cache, config));
        Self { client, keepalive, linger, reports, plans, of_pods: Arc::default() }
    }

    /// The workspace's agent, to which there is a link when this returns.
    pub(super) async fn of(&self, workspace: &Workspace) -> Result<Held, Error> {
        loop {
            let cell = self.of_pods.entry(workspace.clone()).or_default().clone();
            let mut hold = None;
            let open = async || {
                let (agent, first) = self.open(workspace).await?;
                hold = Some(first);
                Ok(agent)
            };
            let agent = match cell.get_or_try_init(open).await {
                Ok(agent) => agent.clone(),
                Err(error) => {
                    self.of_pods.remove_if(workspace, |_, known| known.get().is_none());
                    return Err(error);
                }
            };
            if let Some(hold) = hold.or_else(|| agent.carrier.hold()) {
                return Ok(Held { agent, _hold: hold });
            }
            self.forget_closed(workspace); // Its keeper was about to.
        }
    }

    /// Whether there is one, which also tells how its pod is used.
    pub(super) fn has(&self, workspace: &Workspace) -> bool {
        self.of_pods.contains_key(workspace)
    }

    /// Tells how its pod is used, over a carrier that is there for nothing else.
    pub(super) async fn report_once(&self, workspace: &Workspace) -> Result<(), Error> {
        let (carrier, _incoming) = Carrier::new(Side::Bastion, format!("{:032x}", rand::random::<u128>()));
        let link = open_link(&self.client, workspace).await?;
        let done = tokio::select! {
            ended = carrier.link(link, self.keepalive, |_| {}) => {
                Err(ended.map_or_else(Error::Carrier, |()| Error::Lost("the exec was closed".into())))
            }
            done = self.reports.report_once(&carrier, workspace) => done,
        };
        carrier.close();
        done
    }

    async fn open(&self, workspace: &Workspace) -> Result<(Agent, Hold), Error> {
        let name = format!("{:032x}", rand::random::<u128>());
        let (carrier, incoming) = Carrier::new(Side::Bastion, name);
        let hold = carrier.hold().expect("nobody else knows it yet");
        let (linked, is_linked) = oneshot::channel();
        let (broken, broken_since) = watch::channel(None);
        let keeper = Keeper { carriers: self.clone(), workspace: workspace.clone(), carrier: carrier.clone(), broken };
        tokio::spawn(keeper.run(linked));
        match is_linked.await {
            Ok(Ok(())) => {
                let agent = Agent { carrier, broken_since, listeners: Listeners::serve(incoming) };
                let plan = self.plans.of(&workspace.namespace, &workspace.devserver);
                tokio::spawn(self.reports.clone().report(agent.carrier.clone(), workspace.clone(), plan));
                Ok((agent, hold))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Lost("the carrier was dropped".into())),
        }
    }

    /// Returns once all agents have heard of the ends of their streams.
    pub(super) async fn settled(&self) {
        let agents: Vec<_> = self.of_pods.iter().filter_map(|cell| cell.get().cloned()).collect();
        join_all(agents.iter().map(|agent| agent.carrier.settled())).await;
    }

    fn forget_closed(&self, workspace: &Workspace) {
        self.of_pods.remove_if(workspace, |_, known| known.get().is_some_and(|agent| agent.carrier.is_closed()));
    }
}

impl Deref for Held {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

/// Keeps one carrier linked.
struct Keeper {
    carriers: Carriers,
    workspace: Workspace,
    carrier: Carrier,
    /// Since when there is no link, or no answer.
    broken: watch::Sender<Option<Instant>>,
}

impl Keeper {
    async fn run(self, first: oneshot::Sender<Result<(), Error>>) {
        let mut first = Some(first);
        loop {
            let (linked, error) = self.link(&mut first).await;
            if linked {
                self.broken.send_replace(Some(Instant::now()));
            }
            let hopeless = match &error {
                Error::Carrier(carrier::Error::Forgotten | carrier::Error::Version(_)) => true,
                // An API server that just started refuses what it will allow in a moment.
                error => error.pod_is_gone(),
            };
            if let Some(first) = first.take() {
                let _ = first.send(Err(error));
                break;
            }
            let given_up = self.broken.borrow().is_some_and(|since| since.elapsed() > self.carriers.keepalive.grace);
            if self.carrier.close_if_unused() || hopeless || given_up {
                info!(pod = self.workspace.pod, namespace = self.workspace.namespace, %error, "the carrier ended");
                break;
            }
            debug!(%error, pod = self.workspace.pod, "the carrier broke; linking it again");
            if !linked {
                sleep(PAUSE).await;
            }
        }
        self.carrier.close();
        self.carriers.forget_closed(&self.workspace);
    }

    /// Serves one exec, until it breaks or the carrier is closed as nobody has needed it for a while. Returns whether it
    /// was linked, and why it is no more.
    async fn link(&self, first: &mut Option<oneshot::Sender<Result<(), Error>>>) -> (bool, Error) {
        let link = match open_link(&self.carriers.client, &self.workspace).await {
            Ok(link) => link,
            Err(error) => return (false, error),
        };
        let mut linked = false;
        let on_news = |news| {
            linked = true;
            self.broken.send_replace(match news {
                News::Linked | News::Heard => None,
                News::Silent(since) => Some(since),
            });
            if let Some(first) = first.take() {
                let _ = first.send(Ok(()));
            }
        };
        let served = self.carrier.link(link, self.carriers.keepalive, on_news);
        let error = tokio::select! {
            served = served => match served {
                Ok(()) | Err(carrier::Error::Closed) => Error::Lost("the exec was closed".into()),
                Err(carrier::Error::Broken(source)) => match source.downcast::<Error>() {
                    Ok(error) => *error,
                    Err(source) => Error::Lost(source),
                },
                Err(error) => Error::Carrier(error),
            },
            () = self.unused() => Error::Lost("nobody has needed it for a while".into()),
        };
        (linked, error)
    }

    /// Returns once nobody has used the carrier for a while and it is closed.
    async fn unused(&self) {
        let linger = self.carriers.linger;
        let mut since = Instant::now();
        while since.elapsed() < linger || !self.carrier.close_if_unused() {
            sleep((linger / 8).max(LOOK_AGAIN)).await;
            if !self.carrier.is_unused() {
                since = Instant::now();
            }
        }
    }
}

/// An exec in the workspace's pod that leads to its agent.
async fn open_link(
    client: &kube::Client,
    workspace: &Workspace,
) -> Result<Link<BoxStream<'static, Result<Bytes, Error>>, impl Sink<Bytes, Error = tungstenite::Error> + Unpin>, Error>
{
    let command = [names::AGENT, "connect"];
    let request = ExecRequest {
        namespace: &workspace.namespace,
        pod: &workspace.pod,
        container: names::CONTAINER,
        impersonate: &workspace.service_account,
        on_behalf_of: workspace.on_behalf_of.as_deref(),
        command: &command,
        stdin: true,
        tty: false,
    };
    let (sink, source) = exec::open(client, &request).await?.split();
    let sink = Box::pin(sink.with(async |bytes: Bytes| Ok::<_, tungstenite::Error>(exec::stdin(&bytes))));
    let source = source.filter_map(|message| std::future::ready(read(message))).boxed();
    Ok(Link { source, sink })
}

/// What of a message is the agent's.
fn read(message: Result<Message, tungstenite::Error>) -> Option<Result<Bytes, Error>> {
    let frame = match message {
        Ok(message) => Frame::parse(message),
        Err(error) => Err(Error::Lost(Box::new(error))),
    };
    match frame {
        Ok(Frame::Stdout(bytes)) => Some(Ok(bytes)),
        Ok(Frame::Stderr(bytes)) => {
            debug!(said = %String::from_utf8_lossy(&bytes).trim(), "the agent complains");
            None
        }
        Ok(Frame::Status(status)) => Some(Err(match exec::exit_code(&status) {
            Ok(code) => Error::Lost(format!("the agent's end of the carrier ended with status {code}").into()),
            Err(error) => error,
        })),
        Ok(Frame::Pong | Frame::Other) => None,
        Err(error) => Some(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::workspace::Cache;

    fn carriers() -> Carriers {
        let away = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no cluster here"))
        });
        let grace = Duration::from_secs(60);
        let client = kube::Client::new(away, "default");
        let cache = Cache::start(&client, &TaskTracker::new(), &CancellationToken::new());
        Carriers {
            reports: activity::Reports::paced(client.clone(), cache.clone(), grace, grace),
            client,
            keepalive: Keepalive { ping: grace, patience: 3, grace },
            linger: Duration::ZERO,
            plans: Plans::start(cache),
            of_pods: Arc::default(),
        }
    }

    fn workspace() -> Workspace {
        let [namespace, devserver, pod, service_account] = ["dev-alice", "dev", "dev", "alice"].map(str::to_owned);
        Workspace { namespace, devserver, pod, pod_uid: None, service_account, on_behalf_of: None, agent: true }
    }

    fn agent(carrier: Carrier, incoming: carrier::Incoming) -> Agent {
        Agent { carrier, broken_since: watch::channel(None).1, listeners: Listeners::serve(incoming) }
    }

    /// Its keeper has closed it and not yet forgotten it.
    #[tokio::test]
    async fn a_carrier_that_is_closed_is_not_handed_out() {
        let (carriers, workspace) = (carriers(), workspace());
        let (carrier, incoming) = Carrier::new(Side::Bastion, "one".into());
        let cell = OnceCell::new_with(Some(agent(carrier.clone(), incoming)));
        carriers.of_pods.insert(workspace.clone(), Arc::new(cell));
        let held = carriers.of(&workspace).await.unwrap();
        assert!(held.carrier.name() == "one" && !carrier.close_if_unused());
        drop(held);
        assert!(carrier.close_if_unused());
        assert!(matches!(carriers.of(&workspace).await, Err(Error::Api(_))));
        assert!(carriers.of_pods.is_empty());
    }

    /// Its node is silent, say: the carrier is not yet known to be broken, and a new pod has the name.
    #[tokio::test]
    async fn a_pod_made_anew_is_not_entered_by_the_carrier_of_the_one_before() {
        let (carriers, before) = (carriers(), workspace());
        let (carrier, incoming) = Carrier::new(Side::Bastion, "one".into());
        let cell = OnceCell::new_with(Some(agent(carrier.clone(), incoming)));
        carriers.of_pods.insert(before.clone(), Arc::new(cell));
        let after = Workspace { pod_uid: Some("another".to_owned()), ..before.clone() };
        assert!(matches!(carriers.of(&after).await, Err(Error::Api(_))));
        assert_eq!(carriers.of(&before).await.unwrap().carrier.name(), "one");
    }
}
