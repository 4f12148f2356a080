//! One carrier to each pod that has an agent: opened at the first login, linked anew when its exec breaks, kept for a
//! while after the last session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use futures::stream::BoxStream;
use futures::{Sink, SinkExt, StreamExt};
use tokio::sync::{OnceCell, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::{debug, info};

use super::exec::{self, ExecRequest, Frame};
use super::listeners::Listeners;
use super::{Cache, Config, Error, Workspace, activity};
use crate::api::names;
use crate::carrier::{self, Carrier, Keepalive, Link, Side};

/// The carriers of this process.
#[derive(Clone)]
pub(super) struct Carriers {
    client: kube::Client,
    keepalive: Keepalive,
    linger: Duration,
    reports: activity::Reports,
    of_pods: Arc<DashMap<Workspace, Arc<OnceCell<Agent>>>>,
}

/// A pod's agent.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) carrier: Carrier,
    /// Since when there is no link to it.
    pub(super) broken_since: watch::Receiver<Option<Instant>>,
    pub(super) listeners: Listeners,
}

/// Between two tries to link.
const PAUSE: Duration = Duration::from_millis(200);

impl Carriers {
    pub(super) fn new(client: kube::Client, cache: Cache, config: &Config) -> Self {
        let keepalive = Keepalive { ping: config.exec_ping, patience: 3, grace: config.carrier_grace };
        let (linger, reports) = (config.carrier_linger, activity::Reports::new(client.clone(), cache, config));
        Self { client, keepalive, linger, reports, of_pods: Arc::default() }
    }

    /// The workspace's agent, to which there is a link when this returns.
    pub(super) async fn of(&self, workspace: &Workspace) -> Result<Agent, Error> {
        let cell = self.of_pods.entry(workspace.clone()).or_default().clone();
        let opened = cell.get_or_try_init(|| self.open(workspace)).await;
        if opened.is_err() {
            self.of_pods.remove_if(workspace, |_, known| known.get().is_none());
        }
        opened.cloned()
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
            ended = carrier.link(link, self.keepalive, || {}) => {
                Err(ended.map_or_else(Error::Carrier, |()| Error::Lost("the exec was closed".into())))
            }
            done = self.reports.report_once(&carrier, workspace) => done,
        };
        carrier.close();
        done
    }

    async fn open(&self, workspace: &Workspace) -> Result<Agent, Error> {
        let name = format!("{:032x}", rand::random::<u128>());
        let (carrier, incoming) = Carrier::new(Side::Bastion, name);
        let (linked, is_linked) = oneshot::channel();
        let (broken, broken_since) = watch::channel(None);
        let keeper = Keeper { carriers: self.clone(), workspace: workspace.clone(), carrier: carrier.clone(), broken };
        tokio::spawn(keeper.run(linked));
        match is_linked.await {
            Ok(Ok(())) => {
                let agent = Agent { carrier, broken_since, listeners: Listeners::serve(incoming) };
                tokio::spawn(self.reports.clone().report(agent.carrier.clone(), workspace.clone()));
                Ok(agent)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Lost("the carrier was dropped".into())),
        }
    }
}

/// Keeps one carrier linked.
struct Keeper {
    carriers: Carriers,
    workspace: Workspace,
    carrier: Carrier,
    /// Since when there is no link.
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
            let unused = self.carrier.streams() == 0;
            if let Some(first) = first.take() {
                let _ = first.send(Err(error));
                break;
            }
            let given_up = self.broken.borrow().is_some_and(|since| since.elapsed() > self.carriers.keepalive.grace);
            if unused || hopeless || given_up {
                info!(pod = self.workspace.pod, namespace = self.workspace.namespace, %error, "the carrier ended");
                break;
            }
            debug!(%error, pod = self.workspace.pod, "the carrier broke; linking it again");
            if !linked {
                sleep(PAUSE).await;
            }
        }
        self.carriers.of_pods.remove(&self.workspace);
        self.carrier.close();
    }

    /// Serves one exec, until it breaks or nobody has needed it for a while. Returns whether it was linked, and why it is
    /// no more.
    async fn link(&self, first: &mut Option<oneshot::Sender<Result<(), Error>>>) -> (bool, Error) {
        let link = match open_link(&self.carriers.client, &self.workspace).await {
            Ok(link) => link,
            Err(error) => return (false, error),
        };
        let mut linked = false;
        let on_link = || {
            linked = true;
            self.broken.send_replace(None);
            if let Some(first) = first.take() {
                let _ = first.send(Ok(()));
            }
        };
        let served = self.carrier.link(link, self.carriers.keepalive, on_link);
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

    /// Returns once there has been no stream for a while.
    async fn unused(&self) {
        let mut since = Instant::now();
        while since.elapsed() < self.carriers.linger {
            sleep(self.carriers.linger / 8).await;
            if self.carrier.streams() > 0 {
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
