//! Shells on terminals that outlive the sessions that look at them: the connection may break, the shell does not.

mod keeper;
mod screen;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pty_process::OwnedWritePty;
use rustix::process::{Pid, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::input::signal;
use super::start::{Output, Started, Stdin, start};
use super::{display, lead, ssh_agent_socket};
use crate::agent::account::Account;
use crate::agent::forward::{Display, SshAgentSocket};
use crate::agent::request::{self, News, ProgramRequest, Terminal};
use crate::carrier::{Carrier, Credit, Message, Receiver, Stream, parse};
use keeper::{Keeper, Order, Viewer};
use screen::Screen;

/// Orders that may wait for a shell whose viewers are slow.
const ORDERS: usize = 16;

/// The shells of this pod.
#[derive(Clone, Default)]
pub(in crate::agent) struct Shells(Arc<Mutex<Vec<Shell>>>);

#[derive(Clone)]
struct Shell {
    number: u64,
    group: Pid,
    sink: Arc<tokio::sync::Mutex<OwnedWritePty>>,
    orders: mpsc::Sender<Order>,
    detached: Arc<watch::Sender<Option<Instant>>>,
    /// Where it finds the ssh-agent of whoever looks, if she who began it forwarded hers.
    ssh_agent: Arc<Option<SshAgentSocket>>,
    /// The same of the display.
    display: Arc<Option<Display>>,
    lookers: Arc<Mutex<HashMap<u64, Looker>>>,
}

/// Whence a session looks at a shell.
struct Looker {
    carrier: Carrier,
    /// Ends its looking.
    gone: CancellationToken,
}

impl Shells {
    /// Serves a session that asks for a shell: the newest that nobody looks at, or a new one.
    pub(in crate::agent) async fn enter(
        &self,
        request: ProgramRequest,
        terminal: &Terminal,
        patience: Duration,
        account: &Account,
        carrier: &Carrier,
        stream: Stream,
    ) {
        let asked = request.clone();
        let (shell, notice) = match self.claim() {
            Some((shell, away)) => (shell, Some(notice(away))),
            None => match self.begin(request, terminal, patience, account) {
                Ok(shell) => (shell, None),
                Err(why) => {
                    let _ = stream.sender.send(Message::control(&News::NotStarted(why)));
                    return;
                }
            },
        };
        let _listening = shell
            .ssh_agent
            .as_ref()
            .as_ref()
            .zip(asked.ssh_agent)
            .map(|(socket, number)| socket.listen(number, carrier));
        let _leading = shell.display.as_ref().as_ref().and_then(|display| lead(display, &asked, carrier));
        shell.look(terminal, notice, carrier, stream).await;
    }

    /// The newest shell that nobody looks at, which from now on somebody does, and for how long nobody did.
    fn claim(&self) -> Option<(Shell, Duration)> {
        let shells = self.shells();
        shells.iter().rev().find_map(|shell| shell.claim().map(|away| (shell.clone(), away)))
    }

    fn begin(
        &self,
        mut request: ProgramRequest,
        terminal: &Terminal,
        patience: Duration,
        account: &Account,
    ) -> Result<Shell, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let ssh_agent = Arc::new(ssh_agent_socket(&mut request));
        let display = Arc::new(display(&mut request));
        let Started { child, group, stdin, output, terminal: fd } = start(&request, account)?;
        let (Stdin::Terminal(sink), Output::Terminal(source), Some(fd)) = (stdin, output, fd) else {
            return Err("it has no terminal".to_owned());
        };
        let (sink, detached) = (Arc::new(tokio::sync::Mutex::new(sink)), Arc::new(watch::Sender::new(None)));
        let (orders, received) = mpsc::channel(ORDERS);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let keeper = Keeper {
            child,
            group,
            source,
            terminal: fd,
            screen: Screen::new(terminal.size),
            orders: received,
            detached: detached.clone(),
            patience,
        };
        let shell = Shell { number, group, sink, orders, detached, ssh_agent, display, lookers: Arc::default() };
        self.shells().push(shell.clone());
        let shells = self.clone();
        tokio::spawn(async move {
            keeper.run().await;
            shells.shells().retain(|shell| shell.number != number);
        });
        Ok(shell)
    }

    fn shells(&self) -> MutexGuard<'_, Vec<Shell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shell {
    /// For how long nobody has looked at it, which ends now; none if somebody does.
    fn claim(&self) -> Option<Duration> {
        let mut since = None;
        self.detached.send_if_modified(|detached| {
            since = detached.take();
            since.is_some()
        });
        if let Some(since) = since {
            return Some(since.elapsed());
        }
        // A server that went away may come back for its sessions; until then they do not keep their user from her shell.
        let mut lookers = self.lookers();
        if lookers.is_empty() || lookers.values().any(|looker| looker.carrier.is_linked()) {
            return None;
        }
        lookers.drain().for_each(|(_, looker)| looker.gone.cancel());
        Some(Duration::ZERO)
    }

    /// Shows the shell to a session until that ends, or the shell does.
    async fn look(&self, terminal: &Terminal, notice: Option<String>, carrier: &Carrier, stream: Stream) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let Stream { sender, receiver } = stream;
        let (number, gone) = (NEXT.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        self.lookers().insert(number, Looker { carrier: carrier.clone(), gone: gone.clone() });
        let _ = sender.send(Message::control(&News::Started));
        let viewer = Viewer { number, sender, size: terminal.size, notice, gone: gone.clone() };
        if self.orders.send(Order::Attach(viewer)).await.is_ok() {
            tokio::select! {
                () = self.feed(number, receiver) => {}
                () = gone.cancelled() => {}
            }
            let _ = self.orders.send(Order::Leave(number)).await;
        }
        self.lookers().remove(&number);
    }

    fn lookers(&self) -> MutexGuard<'_, HashMap<u64, Looker>> {
        self.lookers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the session says, until it ends. What the shell does not read holds up nothing else.
    async fn feed(&self, viewer: u64, mut receiver: Receiver) {
        let (data, mut waiting) = mpsc::unbounded_channel::<(Bytes, Credit)>(); // Bounded by the stream's window.
        let write = async {
            while let Some((bytes, _credit)) = waiting.recv().await {
                // A shell that takes no more is about to end, and tells so.
                let _ = self.sink.lock().await.write_all(&bytes).await;
            }
        };
        let receive = async {
            while let Some((message, credit)) = receiver.receive().await {
                match message {
                    Message::Data(bytes) => drop(data.send((bytes, credit))),
                    Message::Control(order) => self.obey(viewer, parse(&order).ok()).await,
                    _ => {}
                }
            }
        };
        tokio::select! {
            () = receive => {}
            () = write => {}
        }
    }

    async fn obey(&self, viewer: u64, order: Option<request::Order>) {
        match order {
            Some(request::Order::Resize(size)) => drop(self.orders.send(Order::Resize(viewer, size)).await),
            Some(request::Order::Signal(name)) => {
                if let Some(signal) = signal(&name) {
                    let _ = kill_process_group(self.group, signal);
                }
            }
            None => {}
        }
    }
}

fn notice(away: Duration) -> String {
    let away = match away.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    format!(" bastion: the shell you left {away} ago; for a new one: ssh -o SetEnv=BASTION_PERSIST=0 ")
}
