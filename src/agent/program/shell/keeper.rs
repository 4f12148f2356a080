//! Owns one shell and its terminal, with whoever looks at it, or with nobody.

use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use pty_process::OwnedReadPty;
use rustix::process::{Pid, Signal};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::screen::{Notice, Screen};
use crate::agent::hang_up;
use crate::agent::memory;
use crate::agent::program::exit;
use crate::agent::program::output::{LastWords, read};
use crate::agent::request::{Exit, News, Size};
use crate::carrier::{Message, Sender};

/// A session that looks at the shell.
pub(super) struct Viewer {
    pub(super) number: u64,
    pub(super) sender: Sender,
    pub(super) size: Size,
    /// Over the screen that it is shown first; a shell that has just begun has none to show.
    pub(super) notice: Option<Notice>,
    /// Whether it understands what it is told beside the screen.
    pub(super) told: bool,
    /// It only looks: it neither holds up the shell nor shapes it, and the shell is left although it looks on.
    pub(super) read_only: bool,
    /// It missed something, and is shown the whole screen as soon as it takes it.
    pub(super) behind: bool,
    pub(super) listener: memory::Listener,
    /// Somebody took its place.
    pub(super) gone: CancellationToken,
}

/// The signal that ends a shell that is given up.
const HUP: u32 = Signal::HUP.as_raw().unsigned_abs();

/// A shell that nobody came back to.
pub(super) struct GivenUp {
    child: Child,
    group: Pid,
    terminal: Arc<OwnedFd>,
}

impl GivenUp {
    pub(super) async fn hang_up(self) {
        hang_up::terminal(self.child, self.group, self.terminal).await;
    }
}

pub(super) enum Order {
    Attach(Viewer),
    Resize(u64, Size),
    Redraw(u64),
    Leave(u64),
}

pub(super) struct Keeper {
    pub(super) child: Child,
    pub(super) group: Pid,
    pub(super) source: OwnedReadPty,
    pub(super) terminal: Arc<OwnedFd>,
    pub(super) screen: Screen,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Since when nobody looks.
    pub(super) detached: Arc<watch::Sender<Option<Instant>>>,
    /// How long it lasts so.
    pub(super) patience: Duration,
}

impl Keeper {
    /// Serves to the shell's end, or until nobody came back in time: then something is left to be hung up.
    pub(super) async fn run(mut self) -> Option<GivenUp> {
        let mut viewers: Vec<Viewer> = Vec::new();
        let status = self.serve(&mut viewers).await;
        // Who has just come hears it too, and who only looked on.
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            self.obey(&mut viewers, order).await;
        }
        let end = status.map_or(Exit::Signal { number: HUP, core_dumped: false }, exit);
        for mut viewer in viewers {
            for news in viewer.listener.hear_at(end).into_iter().chain([News::Exited(end)]) {
                let _ = viewer.sender.send(Message::control(&news));
            }
        }
        status.is_none().then_some(GivenUp { child: self.child, group: self.group, terminal: self.terminal })
    }

    /// How it ended; none if nobody came back in time.
    async fn serve(&mut self, viewers: &mut Vec<Viewer>) -> Option<ExitStatus> {
        let mut announced = memory::announcements();
        // Whoever lets go of the terminal, as a daemon in the shell's place does, may run on: it is left and given up as others.
        let mut is_held = true;
        loop {
            let since = *self.detached.borrow();
            let given_up = async {
                match since {
                    Some(since) => sleep_until(since + self.patience).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                data = read(&mut self.source), if is_held => match data {
                    Ok(data) if !data.is_empty() => self.show(viewers, data).await,
                    _ => is_held = false,
                },
                ended = self.child.wait() => {
                    let mut last_words = LastWords::new();
                    while let Some(data) = last_words.next(&mut self.source).await {
                        self.show(viewers, data).await;
                    }
                    return ended.ok();
                }
                Some(order) = self.orders.recv() => self.obey(viewers, order).await,
                Ok(()) = announced.changed() => {
                    for viewer in &mut *viewers {
                        if let Some(news) = viewer.listener.hear() {
                            let _ = viewer.sender.send(Message::control(&news));
                        }
                    }
                }
                () = given_up => return None,
            }
        }
    }

    async fn show(&mut self, viewers: &mut Vec<Viewer>, data: Bytes) {
        self.screen.process(&data);
        let mut gone = Vec::new();
        for viewer in &mut *viewers {
            let ended = match viewer.read_only {
                true => !self.show_onlooker(viewer, &data),
                false => tokio::select! {
                    biased;
                    () = viewer.gone.cancelled() => true,
                    sent = viewer.sender.data(data.clone()) => sent.is_err(),
                },
            };
            if ended {
                gone.push(viewer.number);
            }
        }
        for number in gone {
            self.obey(viewers, Order::Leave(number)).await;
        }
    }

    /// Shows it what it takes at once, and later the screen in place of what it missed. Whether it is still there.
    fn show_onlooker(&mut self, viewer: &mut Viewer, data: &Bytes) -> bool {
        let shown = if viewer.behind { self.screen.redraw().into() } else { data.clone() };
        let sent = viewer.sender.data(shown).now_or_never();
        viewer.behind = sent.is_none();
        !viewer.gone.is_cancelled() && sent.is_none_or(|sent| sent.is_ok())
    }

    async fn obey(&mut self, viewers: &mut Vec<Viewer>, order: Order) {
        match order {
            Order::Attach(mut viewer) => {
                if let Some(notice) = viewer.notice.take() {
                    if !viewer.read_only {
                        self.resize(viewer.size);
                    }
                    let painted = viewer.sender.data(self.screen.repaint(&notice).into());
                    match viewer.read_only {
                        true => viewer.behind = painted.now_or_never().is_none(),
                        false => drop(painted.await),
                    }
                    if viewer.told && self.screen.is_full_screen() {
                        let _ = viewer.sender.send(Message::control(&News::Notice(notice.text)));
                    }
                }
                viewers.push(viewer);
            }
            Order::Resize(number, size) => {
                for viewer in viewers.iter_mut().filter(|viewer| viewer.number == number) {
                    viewer.size = size;
                }
            }
            Order::Redraw(number) => {
                for viewer in viewers.iter_mut().filter(|viewer| viewer.number == number) {
                    let redrawn = viewer.sender.data(self.screen.redraw().into());
                    match viewer.read_only {
                        true => viewer.behind = redrawn.now_or_never().is_none(),
                        false => drop(redrawn.await),
                    }
                }
            }
            Order::Leave(number) => viewers.retain(|viewer| viewer.number != number),
        }
        // All see one screen: the smallest of those who work in it.
        let workers = || viewers.iter().filter(|viewer| !viewer.read_only);
        let smallest = workers()
            .map(|viewer| viewer.size)
            .reduce(|one, other| Size { columns: one.columns.min(other.columns), rows: one.rows.min(other.rows) });
        if let Some(size) = smallest {
            self.resize(size);
        }
        let detached = workers().next().is_none();
        self.detached.send_if_modified(|since| {
            let changed = since.is_some() != detached;
            if changed {
                *since = detached.then(Instant::now);
            }
            changed
        });
    }

    fn resize(&mut self, size: Size) {
        let size_of_terminal = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = tcsetwinsize(&self.terminal, size_of_terminal);
        self.screen.resize(size);
    }
}
