//! How a session comes back to its shell, which lasts, once the carrier that led there was given up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::super::carriers::Carriers;
use super::super::listeners::{Door, Registered};
use super::super::{Error, Shells, Workspace, X11, wake};
use super::asked::begun;
use super::outages::Outages;
use super::{Command, Output, Program, Terminal, TerminalSize};
use crate::agent::request::{Attach, Request, ReturnRequest};
use crate::cache::Cache;
use crate::carrier::{self, Stream, json};
use crate::telemetry::chain;

/// Where the pod is, and whether it still is.
#[derive(Clone)]
pub(in super::super) struct Way {
    pub(in super::super) carriers: Carriers,
    pub(in super::super) cache: Cache,
    pub(in super::super) workspace: Workspace,
}

/// A session that can come back.
pub(super) struct Comeback {
    way: Way,
    /// What the agent knows it by.
    session: String,
    terminal: Terminal,
    read_only: bool,
    ssh_agent: Option<Door>,
    x11: Option<(X11, Door)>,
    /// Keeps what is forwarded on its way, while the session is back.
    registered: Vec<Registered>,
}

/// Between two tries, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What it may take to reach the pod.
const TRY: Duration = Duration::from_secs(30);
const CTRL_C: u8 = 3;

impl Comeback {
    pub(super) fn new(
        way: Way,
        session: String,
        command: &Command,
        terminal: Terminal,
        ssh_agent: Option<Door>,
        x11: Option<(X11, Door)>,
    ) -> Self {
        let read_only =
            matches!(command.program, Program::Shells(Shells::Look(_) | Shells::Attach { mode: Attach::ReadOnly, .. }));
        Self { way, session, terminal, read_only, ssh_agent, x11, registered: Vec::new() }
    }

    /// Tries until the session is back; none if nobody listens any more. Until then what its user types goes nowhere: a
    /// part of it went with the carrier, and the rest alone may mean something else.
    pub(super) async fn wait(
        &mut self,
        size: Option<TerminalSize>,
        typed: &mut mpsc::Receiver<Bytes>,
        output: &mpsc::Sender<Output>,
    ) -> Option<Result<(Stream, Outages), Error>> {
        if let Some(size) = size {
            self.terminal.size = size;
        }
        let (said, mut pause) = (AtomicBool::new(false), PAUSE);
        let tries = async {
            loop {
                if self.way.is_gone() {
                    break Err(pod_is_gone());
                }
                let error = match self.once().await {
                    Ok(back) => break Ok(back),
                    Err(error) => error,
                };
                match error {
                    Error::NoWayBack(_) | Error::Carrier(carrier::Error::Version(_)) => break Err(error),
                    error if error.pod_is_gone() => break Err(pod_is_gone()),
                    error => {
                        debug!(error = chain(&error), pod = self.way.workspace.pod, "no way back to the shell yet")
                    }
                }
                if !said.swap(true, Ordering::Relaxed) {
                    let _ = output.send(Output::Away).await;
                }
                sleep(pause + pause.mul_f32(rand::random::<f32>() / 4.0)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        let leaves = async {
            while let Some(keys) = typed.recv().await {
                if said.load(Ordering::Relaxed) && keys.contains(&CTRL_C) {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            done = tries => Some(done),
            () = leaves => Some(Err(Error::Left)),
            () = output.closed() => None,
        }
    }

    async fn once(&mut self) -> Result<(Stream, Outages), Error> {
        let agent = timeout(TRY, self.way.carriers.of(&self.way.workspace)).await;
        let agent = agent.map_err(|_| Error::Lost("no answer".into()))??;
        let register = |door: &Door| agent.listeners.register_for(door);
        let ssh_agent = self.ssh_agent.as_ref().map(register);
        let x11 = self.x11.as_ref().map(|(x11, door)| (x11.clone(), register(door)));
        let request = Request::Return(ReturnRequest {
            session: self.session.clone(),
            terminal: self.terminal.clone(),
            read_only: self.read_only,
            ssh_agent: ssh_agent.as_ref().map(Registered::number),
            x11: x11.as_ref().map(|(x11, registered)| (x11.clone(), registered.number())),
        });
        let mut stream = agent.carrier.open(json(&request));
        stream.sender.mark_terminal();
        match begun(&agent.carrier, &mut stream.receiver).await {
            Ok(()) => {}
            Err(Error::NotStarted(why)) => return Err(Error::NoWayBack(why)),
            Err(Error::OldAgent) => {
                let why = "the pod's agent is older than this server; log in again to be back in it";
                return Err(Error::NoWayBack(why.to_owned()));
            }
            Err(error) => return Err(error),
        }
        self.registered = ssh_agent.into_iter().chain(x11.map(|(_, registered)| registered)).collect();
        info!(pod = self.way.workspace.pod, namespace = self.way.workspace.namespace, "back in the shell");
        Ok((stream, Outages::of(agent.broken_since.clone())))
    }
}

impl Way {
    /// Whether the cluster says so. While it says nothing the pod may be there.
    fn is_gone(&self) -> bool {
        let Workspace { namespace, devserver, pod_uid, .. } = &self.workspace;
        let Some(server) = self.cache.devserver_in(namespace, devserver) else { return true };
        let another = |uid: &String| pod_uid.as_ref().is_some_and(|own| own != uid);
        server.metadata.deletion_timestamp.is_some()
            || wake::sleeps(&server)
            || server.status.as_ref().and_then(|status| status.pod_uid.as_ref()).is_some_and(another)
    }
}

fn pod_is_gone() -> Error {
    Error::NoWayBack("its pod is gone".to_owned())
}
