//! The pod of a running DevServer, entered with a client of one's own: no bastion lies between, and the cluster sees
//! who it is by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::agent::Agent;
use super::carriers::{open_link, why_ended};
use super::exec::ANSWERED;
use super::listeners::Listeners;
use super::memory::Words;
use super::process::{self, ExecKeepalive, carried};
use super::{Address, Command, Error, Process, Usage, Workspace};
use crate::api::DevServer;
use crate::carrier::{self, Carrier, Side, Stream};

/// A pod that is entered so, for as long as this is kept.
pub struct Direct {
    client: kube::Client,
    workspace: Workspace,
    agent: Option<Joined>,
    /// What is still to be cleaned up in it.
    tasks: TaskTracker,
}

/// An agent, over one exec that is not opened again.
struct Joined {
    agent: Agent,
    ended: CancellationToken,
    _serving: AbortOnDropHandle<()>,
}

const PING: Duration = Duration::from_secs(15);
/// As for any exec: API servers, kubelets and runtimes end a silent one.
const SILENCE: Duration = Duration::from_secs(60);
/// Nobody comes back: what runs there ends with whoever began it.
const KEEPALIVE: carrier::Keepalive = carrier::Keepalive { ping: PING, patience: 3, grace: Duration::ZERO };

impl Direct {
    /// Enters the pod of `server`, which is in `namespace`.
    pub async fn enter(client: kube::Client, server: &DevServer, namespace: &str) -> Result<Self, Error> {
        let Some(workspace) = Workspace::of_running(server, namespace) else {
            return Err(Error::NotRunning { name: server.metadata.name.clone().unwrap_or_default() });
        };
        let agent = match workspace.agent {
            true => Some(Joined::to(&client, &workspace).await?),
            false => None,
        };
        Ok(Self { client, workspace, agent, tasks: TaskTracker::new() })
    }

    /// Runs `command` there.
    pub async fn start(&self, command: &Command) -> Result<Process, Error> {
        let Some(Joined { agent, .. }) = &self.agent else {
            let keepalive = ExecKeepalive { data: SILENCE, ping: PING, answered: ANSWERED };
            return process::start(&self.client, &self.workspace, command, keepalive, &self.tasks).await;
        };
        carried::start(agent, command, &Words::own(&self.workspace.devserver), None).await
    }

    /// Connects to `address` from within the pod.
    pub async fn connect(&self, address: &Address) -> Result<Stream, Error> {
        self.agent()?.connect(address).await
    }

    pub fn has_agent(&self) -> bool {
        self.agent.is_some()
    }

    /// Returns once its agent is not to be reached any more.
    pub async fn ended(&self) {
        match &self.agent {
            Some(joined) => joined.ended.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Returns once the pod is left as it is to be.
    pub async fn leave(self) {
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(Joined { agent, .. }) = &self.agent {
            agent.carrier.settled().await;
        }
    }

    fn agent(&self) -> Result<&Agent, Error> {
        self.agent.as_ref().map(|joined| &joined.agent).ok_or(Error::NoAgent)
    }
}

impl Joined {
    async fn to(client: &kube::Client, workspace: &Workspace) -> Result<Self, Error> {
        let (carrier, incoming) = Carrier::new(Side::Bastion, format!("{:032x}", rand::random::<u128>()));
        let (linked, is_linked) = oneshot::channel();
        let ended = CancellationToken::new();
        let serve = serve(client.clone(), workspace.clone(), carrier.clone(), linked);
        let serving = AbortOnDropHandle::new(tokio::spawn({
            let ended = ended.clone().drop_guard();
            async move {
                serve.await;
                drop(ended);
            }
        }));
        is_linked.await.unwrap_or_else(|_| Err(Error::Lost("the exec was closed".into())))?;
        let (_, broken_since) = watch::channel(None);
        let agent = Agent { carrier, broken_since, listeners: Listeners::serve(incoming) };
        Ok(Self { agent, ended, _serving: serving })
    }
}

/// Serves the carrier by one exec. `linked` is told once there is a link, or why there is none.
async fn serve(
    client: kube::Client,
    workspace: Workspace,
    carrier: Carrier,
    linked: oneshot::Sender<Result<(), Error>>,
) {
    let mut linked = Some(linked);
    let ended = match open_link(&client, &workspace, ANSWERED).await {
        Ok(link) => {
            let on_news = |_| {
                if let Some(linked) = linked.take() {
                    let _ = linked.send(Ok(()));
                }
            };
            why_ended(carrier.link(link, KEEPALIVE, on_news).await)
        }
        Err(error) => error,
    };
    // Its streams are over, and whoever waits for them hears of it.
    carrier.close();
    if let Some(linked) = linked.take() {
        let _ = linked.send(Err(ended));
    }
}

impl Usage {
    /// How a DevServer of `namespace` is used, and was in the last hour: asked so.
    pub async fn ask(client: kube::Client, server: DevServer, namespace: &str) -> Result<Self, Error> {
        let history = match Direct::enter(client, &server, namespace).await {
            Ok(pod) => Some(pod.agent()?.history().await?),
            Err(Error::NotRunning { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { server: Arc::new(server), history })
    }
}
