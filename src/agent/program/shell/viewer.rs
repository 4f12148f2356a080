//! A session that looks at a shell, and what its terminal is sent.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::fitted::Fitted;
use super::screen::{Notice, Screen};
use crate::agent::memory;
use crate::agent::request::{Response, Size};
use crate::carrier::{Message, Sender};

/// For so long a shell waits for one of those who work in it, while others do too.
const HOLD: Duration = Duration::from_millis(200);

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
    /// Nobody else works in the shell, which may wait for it as long as it takes.
    pub(super) alone: bool,
    /// What the shell waits for it to take.
    pub(super) sending: Option<Sending>,
    /// How it is shown a shell of another size than its terminal's.
    pub(super) fitted: Option<Fitted>,
    pub(super) listener: memory::Listener,
    /// Somebody took its place.
    pub(super) gone: CancellationToken,
}

pub(super) struct Sending {
    since: Instant,
    /// Whether the viewer is still there.
    taken: BoxFuture<'static, bool>,
}

/// Waits until somebody has taken what it is being sent, or the shell waits no longer for it. Returns the numbers of
/// those who are there no more. Cancel safe.
pub(super) async fn settled(viewers: &mut [Viewer]) -> Vec<u64> {
    let until = viewers.iter().filter_map(Viewer::until).min();
    let taken = poll_fn(|context| {
        let (mut gone, mut is_settled) = (Vec::new(), false);
        for viewer in &mut *viewers {
            let Some(sending) = &mut viewer.sending else { continue };
            if let Poll::Ready(is_there) = sending.taken.poll_unpin(context) {
                is_settled = true;
                viewer.sending = None;
                gone.extend((!is_there).then_some(viewer.number));
            }
        }
        if is_settled { Poll::Ready(gone) } else { Poll::Pending }
    });
    let Some(until) = until else { return taken.await };
    if let Ok(gone) = timeout(until.saturating_duration_since(Instant::now()), taken).await {
        return gone;
    }
    for viewer in viewers.iter_mut().filter(|viewer| viewer.until().is_some_and(|its| its <= until)) {
        viewer.sending = None;
        viewer.miss();
    }
    Vec::new()
}

impl Viewer {
    /// Until when the shell waits for it; none if as long as it takes, or not at all.
    fn until(&self) -> Option<Instant> {
        self.sending.as_ref().filter(|_| !self.alone).map(|sending| sending.since + HOLD)
    }

    /// Whether programs write to its very terminal, which answers them.
    pub(super) fn answers(&self) -> bool {
        !self.read_only && self.fitted.is_none()
    }

    /// Shows what the program wrote, which `screen` knows already. Whether it is still there.
    pub(super) fn show(&mut self, screen: &Screen, output: &Bytes) -> bool {
        let shown = match &mut self.fitted {
            _ if self.behind => Bytes::new(),
            Some(fitted) => fitted.update(screen).into(),
            None => output.clone(),
        };
        self.send(shown)
    }

    /// Whether it is to be shown what it missed.
    pub(super) fn is_behind(&self) -> bool {
        self.behind && self.sending.is_none()
    }

    /// What it missed, if it takes it now.
    pub(super) fn catch_up(&mut self, screen: &Screen) {
        if self.is_behind() {
            let shown = match &mut self.fitted {
                Some(fitted) => fitted.update(screen),
                None => screen.anew(),
            };
            self.send(shown.into());
        }
    }

    /// Shows the screen to whoever has just come.
    pub(super) fn greet(&mut self, screen: &Screen, size: Size) {
        self.fitted = (self.size != size).then(|| Fitted::new(self.size));
        let Some(notice) = self.notice.take() else { return };
        let mut shown = match &mut self.fitted {
            None => screen.repaint(&notice),
            Some(fitted) => {
                let mut shown = if notice.is_new { screen.history() } else { Vec::new() };
                shown.extend(fitted.update(screen));
                shown
            }
        };
        if !screen.is_full_screen() {
            shown.extend(notice.over_the_first_row());
        }
        self.send(shown.into());
        if self.told && screen.is_full_screen() {
            let _ = self.sender.send(Message::control(&Response::Notice(notice.text)));
        }
    }

    /// Something else was written over it.
    pub(super) fn redraw(&mut self, screen: &Screen) {
        let shown = match &mut self.fitted {
            Some(fitted) => {
                fitted.forget();
                fitted.update(screen)
            }
            None => screen.redraw(),
        };
        self.send(shown.into());
    }

    /// The shell is of this `size` now.
    pub(super) fn fit(&mut self, screen: &Screen, size: Size) {
        let shown = if self.size == size {
            // Its own program draws for it from now on; before, only if it did so before.
            self.fitted.take().map(|_| screen.anew())
        } else if self.fitted.as_ref().is_some_and(|fitted| fitted.is_for(self.size)) {
            self.fitted.as_mut().map(|fitted| fitted.update(screen))
        } else {
            Some(self.fitted.insert(Fitted::new(self.size)).update(screen))
        };
        if let Some(shown) = shown {
            self.send(shown.into());
        }
    }

    /// Who works in the shell alone is waited for; who does so with others for a moment, if it kept up before; who only
    /// looks takes it at once. Else it is behind. Whether it is still there.
    fn send(&mut self, shown: Bytes) -> bool {
        if shown.is_empty() {
            return !self.gone.is_cancelled();
        }
        if self.sending.is_some() {
            self.miss();
            return true;
        }
        let (sender, gone) = (self.sender.clone(), self.gone.clone());
        let sent = async move {
            tokio::select! {
                biased;
                () = gone.cancelled() => false,
                sent = sender.data(shown) => sent.is_ok(),
            }
        };
        // That it is another task's turn says nothing of who looks.
        let mut taken = unconstrained(sent).boxed();
        let waits = !self.read_only && (self.alone || !self.behind);
        self.behind = false;
        match (&mut taken).now_or_never() {
            Some(is_there) => return is_there,
            None if waits => self.sending = Some(Sending { since: Instant::now(), taken }),
            None => self.miss(),
        }
        true
    }

    fn miss(&mut self) {
        self.behind = true;
        if let Some(fitted) = &mut self.fitted {
            fitted.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::linked::while_linked;
    use crate::carrier::{Carrier, Side};

    const SIZE: Size = Size { columns: 80, rows: 24 };
    /// More than a stream takes that nobody reads.
    const MUCH: usize = 4 * 1024 * 1024;

    fn viewer(sender: Sender) -> Viewer {
        Viewer {
            number: 1,
            sender,
            size: SIZE,
            notice: None,
            told: false,
            read_only: false,
            behind: false,
            alone: true,
            sending: None,
            fitted: None,
            listener: memory::Listener::new(false),
            gone: CancellationToken::new(),
        }
    }

    /// Who closed her laptop froze the shell of whoever worked in it with her.
    #[tokio::test]
    async fn who_works_alone_is_waited_for_and_with_others_only_for_a_moment() {
        let (bastion, _) = Carrier::new(Side::Bastion, "one".into());
        let (agent, mut incoming) = Carrier::new(Side::Agent, "one".into());
        let test = async {
            let mut client = bastion.open(Bytes::from_static(b"x"));
            let (_, stream) = incoming.recv().await.unwrap();
            let (screen, output) = (Screen::new(SIZE), Bytes::from(vec![b'x'; MUCH]));
            let mut viewers = [viewer(stream.sender.clone())];
            assert!(viewers[0].show(&screen, &output));
            assert!(timeout(2 * HOLD, settled(&mut viewers)).await.is_err(), "it is alone");
            viewers[0].alone = false;
            assert!(settled(&mut viewers).await.is_empty());
            assert!(viewers[0].is_behind());
            viewers[0].catch_up(&screen);
            assert!(viewers[0].is_behind(), "a moment is not granted again to who did not keep up");
            while viewers[0].is_behind() {
                let _ = timeout(HOLD, client.receiver.receive()).await;
                viewers[0].catch_up(&screen);
            }
            viewers[0].alone = true;
            assert!(viewers[0].show(&screen, &output));
            let reads = async { while client.receiver.receive().await.is_some() {} };
            tokio::select! {
                () = reads => panic!("the stream ended"),
                gone = settled(&mut viewers) => assert!(gone.is_empty()),
            }
            assert!(viewers[0].sending.is_none() && !viewers[0].is_behind());
        };
        while_linked(&bastion, |_| agent.clone(), test).await;
    }
}
