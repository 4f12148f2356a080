//! Owns one shell and its terminal, with whoever looks at it, or with nobody.

use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pty_process::OwnedReadPty;
use rustix::process::{Pid, Signal};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::held_back::whole;
use super::screen::Screen;
use super::viewer::{Viewer, settled};
use crate::agent::hang_up;
use crate::agent::memory;
use crate::agent::program::exit;
use crate::agent::program::output::{LastWords, read};
use crate::agent::program::redraw::MOMENT;
use crate::agent::request::{Exit, Response, Size};
use crate::carrier::Message;

/// How often it is tried to bring up to date who was too slow.
const CATCH_UP: Duration = Duration::from_millis(200);

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
    Attach(Box<Viewer>),
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
    /// The terminal's, but for the moments in which a program is made to draw anew.
    pub(super) size: Size,
    /// The end of such a moment.
    pub(super) nudged: Option<Instant>,
    /// Output that waits for its rest, and until when it does: a screen is painted between sequences only.
    pub(super) begun: Option<(Vec<u8>, Instant)>,
    /// Whose terminal answers programs; 0 is nobody's.
    pub(super) answering: Arc<AtomicU64>,
    /// Nobody holds the terminal open.
    pub(super) let_go: Arc<AtomicBool>,
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
            self.obey(&mut viewers, order);
        }
        viewers.iter_mut().for_each(|viewer| viewer.catch_up(&self.screen));
        self.all_taken(&mut viewers).await;
        let end = status.map_or(Exit::Signal { number: HUP, core_dumped: false }, exit);
        for mut viewer in viewers {
            for news in viewer.listener.hear_at(end).into_iter().chain([Response::Exited(end)]) {
                let _ = viewer.sender.send(Message::control(&news));
            }
        }
        status.is_none().then_some(GivenUp { child: self.child, group: self.group, terminal: self.terminal })
    }

    /// How it ended; none if nobody came back in time.
    async fn serve(&mut self, viewers: &mut Vec<Viewer>) -> Option<ExitStatus> {
        let mut announced = memory::announcements();
        // Whoever lets go of the terminal, as a daemon in the shell's place does, may run on: it is left and given up
        // as others.
        let mut caught_up = Instant::now();
        loop {
            let since = *self.detached.borrow();
            // No time is as far away as a setting may say.
            let given_up = at(since.and_then(|since| since.checked_add(self.patience)));
            let (nudged, begun) = (self.nudged, self.begun.as_ref().map(|(_, until)| *until));
            let behind = viewers.iter().any(Viewer::is_behind).then(|| caught_up + CATCH_UP);
            // Whoever works in it is shown all; meanwhile the program waits, and nothing else.
            let waits = is_waiting(viewers);
            tokio::select! {
                data = read(&mut self.source), if !waits && !self.let_go.load(Ordering::Relaxed) => match data {
                    Ok(data) if !data.is_empty() => self.take(viewers, data),
                    _ => self.let_go.store(true, Ordering::Relaxed),
                },
                ended = self.child.wait() => {
                    self.all_taken(viewers).await;
                    let mut last_words = LastWords::new();
                    while let Some(data) = last_words.next(&mut self.source).await {
                        self.take(viewers, data);
                        self.all_taken(viewers).await;
                    }
                    self.take_what_is_begun(viewers);
                    return ended.ok();
                }
                gone = settled(viewers), if waits => self.forget(viewers, gone),
                Some(order) = self.orders.recv() => self.obey(viewers, order),
                Ok(()) = announced.changed() => {
                    for viewer in &mut *viewers {
                        if let Some(news) = viewer.listener.hear() {
                            let _ = viewer.sender.send(Message::control(&news));
                        }
                    }
                }
                () = at(nudged) => {
                    self.nudged = None;
                    self.tell_size(self.size);
                }
                () = at(begun), if !waits => self.take_what_is_begun(viewers),
                () = at(behind) => {
                    viewers.iter_mut().for_each(|viewer| viewer.catch_up(&self.screen));
                    caught_up = Instant::now();
                }
                () = given_up => return None,
            }
        }
    }

    /// Returns once nobody is waited for.
    async fn all_taken(&mut self, viewers: &mut Vec<Viewer>) {
        while is_waiting(viewers) {
            let gone = settled(viewers).await;
            self.forget(viewers, gone);
        }
    }

    fn forget(&mut self, viewers: &mut Vec<Viewer>, gone: Vec<u64>) {
        for number in gone {
            self.obey(viewers, Order::Leave(number));
        }
    }

    /// Shows what the program wrote as far as it is whole.
    fn take(&mut self, viewers: &mut Vec<Viewer>, data: Bytes) {
        let mut data = match self.begun.take() {
            Some((mut begun, _)) => {
                begun.extend_from_slice(&data);
                begun.into()
            }
            None => data,
        };
        let begun = data.split_off(whole(&data));
        if !begun.is_empty() {
            self.begun = Some((begun.into(), Instant::now() + MOMENT));
        }
        self.show(viewers, data);
    }

    /// The rest does not come: it is in another encoding, or a program rests in the middle.
    fn take_what_is_begun(&mut self, viewers: &mut Vec<Viewer>) {
        if let Some((begun, _)) = self.begun.take() {
            self.show(viewers, begun.into());
        }
    }

    fn show(&mut self, viewers: &mut Vec<Viewer>, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.screen.process(&data);
        let answers = self.screen.take_answers();
        if !answers.is_empty() && !viewers.iter().any(Viewer::answers) {
            // A program that does not even read its terminal is not waited for.
            let _ = rustix::io::write(&self.terminal, &answers);
        }
        let mut gone = Vec::new();
        for viewer in &mut *viewers {
            if !viewer.show(&self.screen, &data) {
                gone.push(viewer.number);
            }
        }
        self.forget(viewers, gone);
    }

    fn obey(&mut self, viewers: &mut Vec<Viewer>, order: Order) {
        let (mut new, mut redrawn) = (None, None);
        match order {
            Order::Attach(viewer) => {
                new = Some(viewer.number);
                viewers.push(*viewer);
            }
            Order::Resize(number, size) => {
                for viewer in viewers.iter_mut().filter(|viewer| viewer.number == number) {
                    viewer.size = size;
                }
            }
            Order::Redraw(number) => redrawn = Some(number),
            Order::Leave(number) => viewers.retain(|viewer| viewer.number != number),
        }
        // All see one screen: the smallest of those who work in it.
        let workers = || viewers.iter().filter(|viewer| !viewer.read_only);
        let smallest = workers()
            .map(|viewer| viewer.size)
            .reduce(|one, other| Size { columns: one.columns.min(other.columns), rows: one.rows.min(other.rows) });
        let (detached, alone) = (workers().next().is_none(), workers().count() == 1);
        let resized = smallest.is_some_and(|size| self.resize(size));
        let mut drawn_anew = false;
        for viewer in &mut *viewers {
            viewer.alone = alone;
            if new == Some(viewer.number) {
                drawn_anew |= viewer.notice.is_some() && !viewer.read_only;
                viewer.greet(&self.screen, self.size);
            } else if redrawn == Some(viewer.number) {
                drawn_anew |= !viewer.read_only;
                viewer.redraw(&self.screen);
            } else {
                viewer.fit(&self.screen, self.size);
            }
        }
        // There is more to a full screen than its model knows: the program is made to draw it, unless it does already.
        if drawn_anew && !resized && self.screen.is_full_screen() {
            self.nudge();
        }
        let answering = viewers.iter().rev().find(|viewer| viewer.answers()).map_or(0, |viewer| viewer.number);
        self.answering.store(answering, Ordering::Relaxed);
        self.detached.send_if_modified(|since| {
            let changed = since.is_some() != detached;
            if changed {
                *since = detached.then(Instant::now);
            }
            changed
        });
    }

    /// Whether it was of another size.
    fn resize(&mut self, size: Size) -> bool {
        let changes = size != self.size;
        if changes {
            self.size = size;
            self.nudged = None;
            self.tell_size(size);
            self.screen.resize(size);
        }
        changes
    }

    /// Makes the program draw its screen anew, as it does on a terminal that was resized: for a moment it is a row
    /// shorter.
    fn nudge(&mut self) {
        if let Some(rows) = self.size.rows.checked_sub(1).filter(|rows| *rows > 0) {
            self.tell_size(Size { rows, ..self.size });
            self.nudged = Some(Instant::now() + MOMENT);
        }
    }

    fn tell_size(&self, size: Size) {
        let size_of_terminal = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = tcsetwinsize(&self.terminal, size_of_terminal);
    }
}

fn is_waiting(viewers: &[Viewer]) -> bool {
    viewers.iter().any(|viewer| viewer.sending.is_some())
}

/// Waits until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
