//! One carrier to each pod that has an agent: opened at the first login, linked anew when its exec breaks, kept for a
//! while after the last session.

mod keeper;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{Sink, SinkExt, StreamExt};
use tokio::sync::{Notify, OnceCell, oneshot, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;

use super::agent::Agent;
use super::exec::{self, ExecRequest, Frame};
use super::listeners::Listeners;
use super::notices::Plans;
use super::{Config, Error, Workspace, activity};
use crate::api::names;
use crate::cache::Cache;
use crate::carrier::{Budget, Carrier, Hold, Keepalive, Link, Side};
use keeper::Keeper;
pub(super) use keeper::why_ended;

/// The carriers of this process.
#[derive(Clone)]
pub(super) struct Carriers {
    client: kube::Client,
    keepalive: Keepalive,
    budget: Arc<Budget>,
    /// What it may take until an exec is open.
    answered: Duration,
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

/// What it may take until an exec is open, node and all. A connection to a host that is gone without a word is found dead
/// only by this, or by the kernel in a quarter of an hour.
pub(super) const ANSWERED: Duration = Duration::from_secs(20);

impl Carriers {
    pub(super) fn new(client: kube::Client, cache: Cache, config: &Config, plans: Plans) -> Self {
        let keepalive = Keepalive { ping: config.exec_ping, patience: 3, grace: config.carrier_grace };
        let (linger, reports) = (config.carrier_linger, activity::Reports::new(client.clone(), cache, config));
        let budget = Budget::new(config.carrier_memory_mib * 1024 * 1024);
        Self { client, keepalive, budget, answered: ANSWERED, linger, reports, plans, of_pods: Arc::default() }
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
                    // Another login that waits for it may yet open one.
                    self.of_pods
                        .remove_if(workspace, |_, known| known.get().is_none() && Arc::strong_count(known) == 2);
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
        self.of_pods.get(workspace).is_some_and(|cell| cell.get().is_some())
    }

    /// Tells how its pod is used, over a carrier that is there for nothing else.
    pub(super) async fn report_once(&self, workspace: &Workspace) -> Result<(), Error> {
        let (carrier, _) = Carrier::new(Side::Bastion, format!("{:032x}", rand::random::<u128>()));
        let link = open_link(&self.client, workspace, self.answered).await?;
        let report = self.reports.report_once(&carrier, workspace);
        let done = once_linked(&carrier, link, self.keepalive, report).await;
        carrier.close();
        done
    }

    async fn open(&self, workspace: &Workspace) -> Result<(Agent, Hold), Error> {
        let name = format!("{:032x}", rand::random::<u128>());
        let (carrier, incoming) = Carrier::within(self.budget.clone(), Side::Bastion, name);
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

/// An exec in the workspace's pod that leads to its agent, which is open within `answered`.
pub(super) async fn open_link(
    client: &kube::Client,
    workspace: &Workspace,
    answered: Duration,
) -> Result<Link<BoxStream<'static, Result<Bytes, Error>>, impl Sink<Bytes, Error = tungstenite::Error> + Unpin>, Error>
{
    let command = [names::AGENT, "connect"];
    let request = ExecRequest {
        namespace: &workspace.namespace,
        pod: &workspace.pod,
        container: names::CONTAINER,
        impersonate: workspace.service_account.as_deref(),
        on_behalf_of: workspace.on_behalf_of.as_deref(),
        command: &command,
        stdin: true,
        tty: false,
    };
    let opened = timeout(answered, exec::open(client, &request)).await;
    let (sink, source) = opened.unwrap_or_else(|_| Err(Error::Lost("the exec was not answered".into())))?.split();
    let sink = Box::pin(sink.with(async |bytes: Bytes| Ok::<_, tungstenite::Error>(exec::stdin(&bytes))));
    let source = source.filter_map(|message| std::future::ready(read(message))).boxed();
    Ok(Link { source, sink })
}

impl Deref for Held {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

/// Does `work` over a carrier of its own, which it may open streams on: sooner, and an agent takes the carrier for one that
/// it has forgotten.
async fn once_linked<R, W, T>(
    carrier: &Carrier,
    link: Link<R, W>,
    keepalive: Keepalive,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error>
where
    R: futures::Stream<Item = Result<Bytes, Error>> + Unpin,
    W: Sink<Bytes, Error = tungstenite::Error> + Unpin,
{
    let linked = Notify::new();
    let work = async {
        linked.notified().await;
        work.await
    };
    tokio::select! {
        ended = carrier.link(link, keepalive, |_| linked.notify_one()) => {
            Err(ended.map_or_else(Error::Carrier, |()| Error::Lost("the exec was closed".into())))
        }
        done = work => done,
    }
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
    use futures::channel::mpsc;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::carrier;

    const LONG: Duration = Duration::from_secs(60);

    fn carriers() -> Carriers {
        let away = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no cluster here"))
        });
        let grace = Duration::from_secs(60);
        let client = kube::Client::new(away, "default");
        let cache = Cache::start(&client, &CancellationToken::new());
        Carriers {
            reports: activity::Reports::paced(client.clone(), cache.clone(), grace, grace),
            client,
            keepalive: Keepalive { ping: grace, patience: 3, grace },
            budget: Arc::default(),
            answered: grace,
            linger: Duration::ZERO,
            plans: Plans::start(cache),
            of_pods: Arc::default(),
        }
    }

    fn workspace() -> Workspace {
        let [namespace, devserver, pod, account] = ["dev-alice", "dev", "dev", "alice"].map(str::to_owned);
        let service_account = Some(account);
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

    /// Every other look at a pod failed: its agent was told of a stream that it had never heard of.
    #[tokio::test]
    async fn a_stream_is_opened_only_once_there_is_a_link() {
        let keepalive = Keepalive { ping: Duration::from_secs(60), patience: 3, grace: Duration::ZERO };
        for _ in 0..20 {
            let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
            let (agent, mut opened) = Carrier::new(Side::Agent, "one".into());
            let (to_agent, from_bastion) = mpsc::channel::<Bytes>(2);
            let (to_bastion, from_agent) = mpsc::channel::<Bytes>(2);
            let serve = async {
                let mut source = from_bastion.map(Ok::<_, std::convert::Infallible>);
                let accepted = carrier::accept(&mut source).await.unwrap();
                assert!(accepted.is_new());
                let _ = agent.accepted(Link { source, sink: to_bastion }, accepted).await;
            };
            let link = Link {
                source: from_agent.map(Ok::<_, Error>),
                sink: to_agent.sink_map_err(|_| tungstenite::Error::ConnectionClosed),
            };
            let ask = async {
                let mut stream = carrier.open(Bytes::from_static(b"x"));
                stream.receiver.receive().await.ok_or(Error::NoAgent)
            };
            let answer = async {
                let (request, stream) = opened.recv().await.unwrap();
                stream.sender.data(request).await.unwrap();
                stream
            };
            let asked = async { tokio::join!(once_linked(&carrier, link, keepalive, ask), answer) };
            tokio::select! {
                (answered, _) = asked => assert!(answered.is_ok()),
                () = serve => panic!("the link broke"),
            }
        }
    }

    /// The balancer before the API server is gone, say, and no packet comes back: nobody was told for a quarter of an hour.
    #[tokio::test]
    async fn an_exec_that_is_never_answered_is_given_up() {
        let silent = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>().await
        });
        let soon = Duration::from_millis(20);
        let carriers = Carriers { client: kube::Client::new(silent, "default"), answered: soon, ..carriers() };
        let opened = timeout(LONG, carriers.of(&workspace())).await.expect("it is given up");
        assert!(matches!(opened, Err(error) if error.is_outage()));

        let keepalive = Keepalive { grace: soon, ..carriers.keepalive };
        let carriers = Carriers { answered: LONG, keepalive, ..carriers };
        let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
        let broken = watch::channel(Some(Instant::now())).0;
        let keeper = Keeper { carriers, workspace: workspace(), carrier, broken };
        let linked = timeout(LONG / 2, keeper.link(&mut None)).await.expect("the agent has ended its programs");
        assert!(matches!(linked, (None, Error::Lost(_))));
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
