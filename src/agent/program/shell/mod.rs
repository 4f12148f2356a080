//! Shells on terminals that outlive the sessions that look at them: the connection may break, the shell does not.

mod beyond;
mod fitted;
mod held_back;
mod keeper;
mod list;
mod look;
mod menu;
mod screen;
mod viewer;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use pty_process::OwnedWritePty;
use rustix::process::Pid;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::start::{Held, Output, Started, Stdin, start};
use super::{display, ssh_agent_socket};
use crate::agent::account::Account;
use crate::agent::activity;
use crate::agent::forward::{Display, SshAgentSocket};
use crate::agent::ledger;
use crate::agent::request::{Attach, ProgramRequest, Response, ReturnRequest, ShellsRequest, Terminal};
use crate::carrier::{Carrier, Message, Stream};
use keeper::{Keeper, Order};
use look::{Brought, Look, Lookers};
use menu::Choice;
use screen::{Notice, Screen};

/// What a session reads that is back.
const BACK: &str = "the connection to your pod is back; what you typed was not sent";
/// Orders that may wait for a shell that has much to show.
const ORDERS: usize = 16;

/// The shells of this pod.
#[derive(Clone, Default)]
pub(in crate::agent) struct Shells(Arc<Mutex<Vec<Shell>>>);

#[derive(Clone)]
struct Shell {
    number: u64,
    began: SystemTime,
    group: Pid,
    sink: Arc<tokio::sync::Mutex<OwnedWritePty>>,
    terminal: Arc<OwnedFd>,
    orders: mpsc::Sender<Order>,
    /// Since when nobody looks at it.
    detached: Arc<watch::Sender<Option<Instant>>>,
    /// Where it finds the ssh-agent of whoever looks, if she who began it forwarded hers.
    ssh_agent: Option<Arc<SshAgentSocket>>,
    /// The same of the display.
    display: Option<Arc<Display>>,
    lookers: Arc<Mutex<Lookers>>,
    /// Whose terminal answers its programs.
    answering: Arc<AtomicU64>,
    /// No program has its terminal any more, though what was the shell runs on.
    let_go: Arc<AtomicBool>,
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
        let brought = Brought { ssh_agent: request.ssh_agent, x11: request.x11.clone() };
        let (out_of_memory, session) = (request.out_of_memory, request.session.clone());
        let (shell, notice) = match self.claim() {
            Some((shell, away)) => (shell, Some(Notice { text: left(away), is_new: true })),
            None => match self.begin(request, terminal, patience, account) {
                Ok(shell) => (shell, None),
                Err(why) => {
                    let _ = stream.sender.send(Message::control(&Response::NotStarted(why)));
                    return;
                }
            },
        };
        let _ = stream.sender.send(Message::control(&Response::Started));
        let look = Look { terminal, notice, read_only: false, brought, out_of_memory, session, carrier };
        shell.look(look, stream).await;
    }

    /// Serves a session that asks about shells.
    pub(in crate::agent) async fn serve(&self, request: ShellsRequest, carrier: &Carrier, mut stream: Stream) {
        let ShellsRequest { shells, mut terminal, ssh_agent, x11, out_of_memory, session } = request;
        let brought = Brought { ssh_agent, x11 };
        let _ = stream.sender.send(Message::control(&Response::Started));
        let choice = menu::choose(shells, &self.list(), &mut terminal, &mut stream).await;
        let Choice::Attach { number, mode } = choice else { return };
        let Some(terminal) = &terminal else {
            return menu::refuse("a shell needs a terminal: ssh -t USER@BASTION shells NUMBER", &stream.sender).await;
        };
        let shell = self.shells().iter().find(|shell| shell.number == number).cloned();
        let Some(shell) = shell else {
            return menu::refuse(&format!("there is no shell {number}; `shells` lists them"), &stream.sender).await;
        };
        if mode == Attach::TakeOver {
            shell.dismiss();
        }
        let read_only = mode == Attach::ReadOnly;
        let text = format!("shell {number}{}", if read_only { ", to look at only; ~. leaves it" } else { "" });
        let notice = Some(Notice { text, is_new: true });
        shell.look(Look { terminal, notice, read_only, brought, out_of_memory, session, carrier }, stream).await;
    }

    /// Serves a session whose carrier was given up: it looks at the same shell as before.
    pub(in crate::agent) async fn take_back(&self, request: ReturnRequest, carrier: &Carrier, stream: Stream) {
        let ReturnRequest { session, terminal, read_only, ssh_agent, x11 } = request;
        let shell = self.shells().iter().find(|shell| shell.expects(&session, read_only)).cloned();
        let Some(shell) = shell else {
            let why = "it ended meanwhile, or another session is in it now".to_owned();
            let _ = stream.sender.send(Message::control(&Response::NotStarted(why)));
            return;
        };
        let _ = stream.sender.send(Message::control(&Response::Started));
        let notice = Some(Notice { text: BACK.to_owned(), is_new: false });
        let (brought, session) = (Brought { ssh_agent, x11 }, Some(session));
        let look = Look { terminal: &terminal, notice, read_only, brought, out_of_memory: true, session, carrier };
        shell.look(look, stream).await;
    }

    fn list(&self) -> Vec<list::Entry> {
        self.shells().iter().map(list::Entry::of).collect()
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
        let ssh_agent = ssh_agent_socket(&mut request).map(Arc::new);
        let display = display(&mut request).map(Arc::new);
        let Started { child, group, stdin, output, held } = start(&request, account)?;
        let (Stdin::Terminal(sink), Output::Terminal(source), Held::Terminal(fd)) = (stdin, output, held) else {
            return Err("it has no terminal".to_owned());
        };
        let (sink, fd) = (Arc::new(tokio::sync::Mutex::new(sink)), Arc::new(fd));
        let detached = Arc::new(watch::Sender::new(None));
        let (orders, received) = mpsc::channel(ORDERS);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let answering = Arc::new(AtomicU64::new(0));
        let let_go = Arc::<AtomicBool>::default();
        let keeper = Keeper {
            child,
            group,
            source,
            terminal: fd.clone(),
            screen: Screen::new(terminal.size),
            size: terminal.size,
            nudged: None,
            begun: None,
            answering: answering.clone(),
            let_go: let_go.clone(),
            orders: received,
            detached: detached.clone(),
            patience,
        };
        let (began, lookers) = (SystemTime::now(), Arc::default());
        let terminal = fd;
        let shell = Shell {
            number,
            began,
            group,
            sink,
            terminal,
            orders,
            detached,
            ssh_agent,
            display,
            lookers,
            answering,
            let_go,
        };
        self.shells().push(shell.clone());
        let shells = self.clone();
        let (counted, told) = (activity::program(), ledger::Entry::new(group, None));
        tokio::spawn(async move {
            let (_counted, _told) = (counted, told);
            let given_up = keeper.run().await;
            // First: nobody is to be led to a shell that is being ended.
            shells.shells().retain(|shell| shell.number != number);
            if let Some(given_up) = given_up {
                given_up.hang_up().await;
            }
        });
        Ok(shell)
    }

    fn shells(&self) -> MutexGuard<'_, Vec<Shell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a shell that she is back in.
fn left(away: Duration) -> String {
    format!("the shell you left {} ago; for a new one: ssh -o SetEnv=BASTION_PERSIST=0", list::age(away))
}
