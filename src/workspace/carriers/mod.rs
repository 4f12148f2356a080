//! One carrier to each pod that has an agent: opened at the first login, linked anew when its exec breaks, kept for a
//! while after the last session.

mod cell;
mod keeper;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{Sink, StreamExt};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;

use super::agent::Agent;
use super::exec::{self, ExecRequest, Frame};
use super::listeners::Listeners;
use super::notices::Plans;
use super::{Config, Error, Workspace, activity, wire};
use crate::api::names;
use crate::cache::Cache;
use crate::carrier::{Budget, Carrier, Hold, Keepalive, Link, Side};
use cell::Cell;
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
    of_pods: Arc<OfPods>,
}

type OfPods = DashMap<Workspace, Arc<Cell>>;

/// A login's look at the carrier of a pod. Where none could be opened, or she left meanwhile, the last who looked
/// leaves no trace of it.
struct Visit<'a> {
    workspace: &'a Workspace,
    of_pods: &'a OfPods,
    cell: Arc<Cell>,
}

/// An agent whose carrier stays for as long as this does, and then for as long as there are streams.
pub(super) struct Held {
    agent: Agent,
    _hold: Hold,
}

impl Carriers {
    pub(super) fn new(client: kube::Client, cache: Cache, config: &Config, plans: Plans) -> Self {
        let keepalive = Keepalive { ping: config.exec_ping, patience: 3, grace: config.carrier_grace };
        let (linger, reports) = (config.carrier_linger, activity::Reports::new(client.clone(), cache, config));
        let budget = Budget::new(config.carrier_memory_mib * 1024 * 1024);
        Self { client, keepalive, budget, answered: exec::ANSWERED, linger, reports, plans, of_pods: Arc::default() }
    }

    /// The workspace's agent, to which there is a link when this returns.
    pub(super) async fn of(&self, workspace: &Workspace) -> Result<Held, Error> {
        loop {
            let visit = Visit::to(workspace, &self.of_pods);
            let mut hold = None;
            let open = async || {
                let (agent, first) = self.open(workspace).await?;
                hold = Some(first);
                Ok::<_, Error>(agent)
            };
            let agent = visit.cell.get_or_open(open).await?.clone();
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
) -> Result<Link<BoxStream<'static, Result<Bytes, Error>>, impl Sink<Bytes, Error = io::Error> + Unpin>, Error> {
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
    let opened = timeout(answered, exec::upgrade(client, &request)).await;
    let socket = opened.unwrap_or_else(|_| Err(Error::Lost("the exec was not answered".into())))?;
    let (source, sink) = wire::split(socket).await;
    let source = source.filter_map(|message| std::future::ready(read(message))).boxed();
    Ok(Link { source, sink })
}

impl<'a> Visit<'a> {
    fn to(workspace: &'a Workspace, of_pods: &'a OfPods) -> Self {
        Self { workspace, of_pods, cell: of_pods.entry(workspace.clone()).or_default().clone() }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        drop(std::mem::take(&mut self.cell)); // Whoever else lets go at this moment then sees that she is the last.
        self.of_pods.remove_if(self.workspace, |_, known| known.get().is_none() && Arc::strong_count(known) == 1);
    }
}

impl Deref for Held {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

/// Does `work` over a carrier of its own, which it may open streams on: sooner, and an agent takes the carrier for one
/// that it has forgotten.
async fn once_linked<R, W, T>(
    carrier: &Carrier,
    link: Link<R, W>,
    keepalive: Keepalive,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error>
where
    R: futures::Stream<Item = Result<Bytes, Error>> + Unpin,
    W: Sink<Bytes, Error = io::Error> + Unpin,
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
