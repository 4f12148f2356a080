//! A session's looking at a shell.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::kill_process_group;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shell;
use super::keeper::Order;
use super::screen::Notice;
use super::viewer::Viewer;
use crate::agent::activity;
use crate::agent::memory;
use crate::agent::program::answers::Answers;
use crate::agent::program::input::signal;
use crate::agent::program::lead;
use crate::agent::request::{self, Exit, Response, Terminal, X11};
use crate::carrier::{Carrier, Credit, Message, Receiver, Stream, parse};

/// Undoes what programs do to a terminal: alternate screen, rows that scroll, line drawing, keys, cut lines, the
/// cursor, mouse and focus, pasting, keyboards of xterm and kitty, colours. What is said goes below all of it.
const TAKEN_OVER: &str = "\x1b[=0u\x1b[?1049l\x1b[=0u\x1b[>4m\x1b[?6l\x1b[r\x1b(B\x0f\x1b[4l\x1b[?1l\x1b>\x1b[?7h\x1b[?25h\x1b[0 q\
                          \x1b[?9;1000;1002;1003;1004;1005;1006;1015;1016l\x1b[?2004l\x1b[m\x1b[999;1H\r\n\
                          bastion: another session has taken this shell over\r\n";

/// Sessions that may come back to one shell; the oldest are forgotten.
const MAX_EXPECTED: usize = 64;

/// How a session looks.
pub(super) struct Look<'a> {
    pub(super) terminal: &'a Terminal,
    /// Over what it is shown first; a shell that has just begun has nothing to show.
    pub(super) notice: Option<Notice>,
    pub(super) read_only: bool,
    pub(super) brought: Brought,
    /// Whether it understands that memory ran out.
    pub(super) out_of_memory: bool,
    /// What it is called, if it can come back.
    pub(super) session: Option<String>,
    pub(super) carrier: &'a Carrier,
}

/// What its user forwards, with the numbers of the listeners that stand for it.
pub(super) struct Brought {
    pub(super) ssh_agent: Option<u64>,
    pub(super) x11: Option<(X11, u64)>,
}

/// Who looks at a shell.
#[derive(Default)]
pub(super) struct Lookers {
    there: HashMap<u64, Looker>,
    /// Sessions whose carriers were given up while they looked, and who may come back.
    expected: VecDeque<String>,
}

/// Whence a session looks at a shell.
struct Looker {
    carrier: Carrier,
    session: Option<String>,
    /// Ends its looking.
    gone: CancellationToken,
}

impl Shell {
    /// For how long nobody has looked at it, which ends now; none if somebody does, or there is nothing to see any
    /// more.
    pub(super) fn claim(&self) -> Option<Duration> {
        if self.let_go.load(Ordering::Relaxed) {
            return None;
        }
        let mut since = None;
        self.detached.send_if_modified(|detached| {
            since = detached.take();
            since.is_some()
        });
        if let Some(since) = since {
            self.lookers().expected.clear();
            return Some(since.elapsed());
        }
        // A server that went away may come back for its sessions; until then they do not keep their user from her
        // shell.
        let left = {
            let lookers = self.lookers();
            !lookers.there.is_empty() && lookers.there.values().all(|looker| !looker.carrier.is_linked())
        };
        left.then(|| {
            self.dismiss();
            Duration::ZERO
        })
    }

    /// Ends everybody's looking, and that of whoever would come back.
    pub(super) fn dismiss(&self) {
        let mut lookers = self.lookers();
        lookers.there.drain().for_each(|(_, looker)| looker.gone.cancel());
        lookers.expected.clear();
    }

    /// Whether `session` looked at it and was not sent away: then it is about to look on.
    pub(super) fn expects(&self, session: &str, read_only: bool) -> bool {
        let mut lookers = self.lookers();
        // Nobody may have noticed here that its link broke.
        let there = lookers.there.extract_if(|_, looker| looker.session.as_deref() == Some(session));
        let there = there.map(|(_, looker)| looker.gone.cancel()).count() > 0;
        let expected = lookers.expected.iter().position(|expected| expected == session);
        let expected = expected.map(|at| lookers.expected.remove(at)).is_some();
        drop(lookers);
        let expects = there || expected;
        if expects && !read_only {
            self.detached.send_if_modified(|detached| detached.take().is_some());
        }
        expects
    }

    /// How many look at it.
    pub(super) fn viewers(&self) -> usize {
        self.lookers().there.len()
    }

    /// Shows the shell to a session until that ends, or the shell does.
    pub(super) async fn look(&self, look: Look<'_>, stream: Stream) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let Look { terminal, notice, read_only, brought, out_of_memory, session, carrier } = look;
        let Stream { sender, receiver } = stream;
        sender.mark_terminal();
        let Brought { ssh_agent, x11 } = &brought;
        let _ssh_agent =
            self.ssh_agent.as_ref().zip(*ssh_agent).map(|(socket, listener)| socket.lead(listener, carrier));
        let _display = self.display.as_ref().and_then(|display| lead(display, x11.as_ref(), carrier));
        let (number, gone) = (NEXT.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        let told = session.is_some();
        let looker = Looker { carrier: carrier.clone(), session, gone: gone.clone() };
        self.lookers().there.insert(number, looker);
        let (size, sees) = (terminal.size, sender.clone());
        let listener = memory::Listener::new(out_of_memory);
        let viewer = Viewer {
            number,
            sender: sees,
            size,
            notice,
            told,
            read_only,
            behind: false,
            alone: false,
            sending: None,
            fitted: None,
            listener,
            gone: gone.clone(),
        };
        if self.orders.send(Order::Attach(Box::new(viewer))).await.is_ok() {
            tokio::select! {
                () = self.feed(number, read_only, receiver) => {}
                () = gone.cancelled() => {}
            }
            // Before the shell is free for others, so that it is known who may come back to it.
            self.leave(number, carrier);
            let _ = self.orders.send(Order::Leave(number)).await;
        }
        self.leave(number, carrier);
        if gone.is_cancelled() {
            let _ = sender.data(TAKEN_OVER.into()).await;
            let _ = sender.send(Message::control(&Response::Exited(Exit::Code(0))));
        }
    }

    fn leave(&self, number: u64, carrier: &Carrier) {
        let mut lookers = self.lookers();
        let session = lookers.there.remove(&number).and_then(|looker| looker.session);
        // Its carrier ended under it: it did not want to go.
        if let Some(session) = session.filter(|_| carrier.is_closed()) {
            lookers.expected.push_back(session);
            if lookers.expected.len() > MAX_EXPECTED {
                lookers.expected.pop_front();
            }
        }
    }

    fn lookers(&self) -> MutexGuard<'_, Lookers> {
        self.lookers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the session says, until it ends. What the shell does not read holds up nothing else.
    async fn feed(&self, viewer: u64, read_only: bool, mut receiver: Receiver) {
        let (data, mut waiting) = mpsc::unbounded_channel::<(Bytes, Credit)>(); // Bounded by the stream's window.
        let write = async {
            while let Some((bytes, _credit)) = waiting.recv().await {
                // A shell that takes no more is about to end, and tells so.
                let _ = self.sink.lock().await.write_all(&bytes).await;
            }
        };
        let mut answers = Answers::default();
        let receive = async {
            while let Some((message, credit)) = receiver.receive().await {
                match message {
                    Message::Data(_) if read_only => {}
                    Message::Data(bytes) => {
                        let typed = answers.take_from(&bytes);
                        if !typed.is_empty() {
                            activity::typed(typed.len());
                        }
                        // Of two terminals that answer a program, the second one's answer would be text to it.
                        let answers_for_all = self.answering.load(Ordering::Relaxed) == viewer;
                        let _ = data.send((if answers_for_all { bytes } else { typed }, credit));
                    }
                    Message::Control(order) => self.obey(viewer, read_only, parse(&order).ok()).await,
                    _ => {}
                }
            }
        };
        tokio::select! {
            () = receive => {}
            () = write => {}
        }
    }

    async fn obey(&self, viewer: u64, read_only: bool, order: Option<request::Order>) {
        match order {
            Some(request::Order::Resize(size)) => drop(self.orders.send(Order::Resize(viewer, size)).await),
            Some(request::Order::Redraw) => drop(self.orders.send(Order::Redraw(viewer)).await),
            Some(request::Order::Signal(_)) if read_only => {}
            Some(request::Order::Signal(name)) => {
                if let Some(signal) = signal(&name) {
                    let _ = kill_process_group(self.group, signal);
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TAKEN_OVER;
    use crate::agent::program::shell::beyond::Beyond;

    #[test]
    fn who_is_sent_away_has_a_terminal_as_before() {
        let new = || {
            let (rows, columns) = (24.try_into().unwrap(), 80.try_into().unwrap());
            vt100::Parser::new_with_callbacks(rows, columns, 0, Beyond::default())
        };
        let mut terminal = new();
        terminal.process(
            b"\x1b[?1h\x1b=\x1b[?7l\x1b[?1003;1004;1006h\x1b[?2004h\x1b[5 q\x1b[>4;2m\x1b[>1u\x1b[5;10r\x1b[31m",
        );
        terminal.process(b"\x1b[?1049h\x1b[>5u\x1b[?25l");
        terminal.process(TAKEN_OVER.as_bytes());
        let screen = terminal.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(screen.input_mode_formatted(), new().screen().input_mode_formatted());
        assert_eq!(terminal.callbacks().formatted(false), "");
        terminal.process(b"\x1b[11;1Hlast\x1b[12;1Hlower\x1b[24;1H\n");
        let rows: Vec<_> = terminal.screen().rows(0, 80).collect();
        assert_eq!((rows[9].as_str(), rows[10].as_str()), ("last", "lower"), "all rows scroll");
    }
}
