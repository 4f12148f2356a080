//! A session that looks at a shell, and what its terminal is sent.

use bytes::Bytes;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::fitted::Fitted;
use super::screen::{Notice, Screen};
use crate::agent::memory;
use crate::agent::request::{News, Size};
use crate::carrier::{Message, Sender};

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
    /// How it is shown a shell of another size than its terminal's.
    pub(super) fitted: Option<Fitted>,
    pub(super) listener: memory::Listener,
    /// Somebody took its place.
    pub(super) gone: CancellationToken,
}

impl Viewer {
    /// Whether programs write to its very terminal, which answers them.
    pub(super) fn answers(&self) -> bool {
        !self.read_only && self.fitted.is_none()
    }

    /// Shows what the program wrote, which `screen` knows already. Whether it is still there.
    pub(super) async fn show(&mut self, screen: &Screen, output: &Bytes) -> bool {
        let shown = match &mut self.fitted {
            Some(fitted) => fitted.update(screen).into(),
            None if self.behind => screen.anew().into(),
            None => output.clone(),
        };
        self.send(shown).await
    }

    /// What it missed, if it takes it now.
    pub(super) async fn catch_up(&mut self, screen: &Screen) {
        if self.behind {
            self.show(screen, &Bytes::new()).await;
        }
    }

    /// Shows the screen to whoever has just come.
    pub(super) async fn greet(&mut self, screen: &Screen, size: Size) {
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
        self.send(shown.into()).await;
        if self.told && screen.is_full_screen() {
            let _ = self.sender.send(Message::control(&News::Notice(notice.text)));
        }
    }

    /// Something else was written over it.
    pub(super) async fn redraw(&mut self, screen: &Screen) {
        let shown = match &mut self.fitted {
            Some(fitted) => {
                fitted.forget();
                fitted.update(screen)
            }
            None => screen.redraw(),
        };
        self.send(shown.into()).await;
    }

    /// The shell is of this `size` now.
    pub(super) async fn fit(&mut self, screen: &Screen, size: Size) {
        let shown = if self.size == size {
            // Its own program draws for it from now on; before, only if it did so before.
            self.fitted.take().map(|_| screen.anew())
        } else if self.fitted.as_ref().is_some_and(|fitted| fitted.is_for(self.size)) {
            self.fitted.as_mut().map(|fitted| fitted.update(screen))
        } else {
            Some(self.fitted.insert(Fitted::new(self.size)).update(screen))
        };
        if let Some(shown) = shown {
            self.send(shown.into()).await;
        }
    }

    /// Who only looks takes it at once or is behind. Whether it is still there.
    async fn send(&mut self, shown: Bytes) -> bool {
        if shown.is_empty() && !self.behind {
            return !self.gone.is_cancelled();
        }
        if !self.read_only {
            return tokio::select! {
                biased;
                () = self.gone.cancelled() => false,
                sent = self.sender.data(shown) => sent.is_ok(),
            };
        }
        let sent = self.sender.data(shown).now_or_never();
        self.behind = sent.is_none();
        if let (true, Some(fitted)) = (self.behind, &mut self.fitted) {
            fitted.forget();
        }
        !self.gone.is_cancelled() && sent.is_none_or(|sent| sent.is_ok())
    }
}
