//! Keeps one carrier linked: by another exec when one breaks, until it is given up or nobody needs it any more.

use std::time::Duration;

use futures::future::pending;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info};

use super::super::breaks::Breaks;
use super::super::{Error, Workspace};
use super::{Carriers, open_link};
use crate::carrier::{self, Carrier, LinkEvent};
use crate::telemetry::chain;

/// Between two looks whether a carrier is in use, at least.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(super) struct Keeper {
    pub(super) carriers: Carriers,
    pub(super) workspace: Workspace,
    pub(super) carrier: Carrier,
    /// Since when there is no link, or no answer.
    pub(super) broken: watch::Sender<Option<Instant>>,
}

impl Keeper {
    /// Links it again and again, until it is given up or nobody needs it. `first` is told of the first link.
    pub(super) async fn run(self, first: oneshot::Sender<Result<(), Error>>) {
        let (mut first, mut breaks) = (Some(first), Breaks::default());
        loop {
            let (lasted, error) = self.link(&mut first).await;
            let pause = breaks.broke(lasted, &error, Instant::now());
            self.broken.send_replace(breaks.since());
            let hopeless = match &error {
                Error::Carrier(carrier::Error::Forgotten | carrier::Error::Version(_)) => true,
                _ if breaks.are_hopeless() => true,
                // An API server that just started refuses what it will allow in a moment.
                error => error.pod_is_gone(),
            };
            if let Some(first) = first.take() {
                let _ = first.send(Err(error));
                break;
            }
            let given_up = breaks.since().is_some_and(|since| since.elapsed() >= self.carriers.keepalive.grace);
            if self.carrier.close_if_unused() || hopeless || given_up {
                info!(
                    pod = self.workspace.pod,
                    namespace = self.workspace.namespace,
                    error = chain(&error),
                    "the carrier ended"
                );
                break;
            }
            debug!(error = chain(&error), pod = self.workspace.pod, "the carrier broke; linking it again");
            sleep(pause).await;
        }
        self.carrier.close();
        self.carriers.forget_closed(&self.workspace);
    }

    /// Serves one exec, until it breaks or the carrier is closed as nobody has needed it for a while. Returns for how
    /// long it was linked, if at all, and why it is no more.
    pub(super) async fn link(
        &self,
        first: &mut Option<oneshot::Sender<Result<(), Error>>>,
    ) -> (Option<Duration>, Error) {
        let opened = tokio::select! {
            opened = open_link(&self.carriers.client, &self.workspace, self.carriers.answered) => opened,
            () = self.given_up() => Err(Error::Lost("there was no exec for too long".into())),
            () = abandoned(first) => Err(Error::Lost("whoever asked for it has left".into())),
        };
        let link = match opened {
            Ok(link) => link,
            Err(error) => return (None, error),
        };
        let mut linked = None;
        let on_news = |news| {
            linked.get_or_insert_with(Instant::now);
            self.broken.send_replace(match news {
                LinkEvent::Linked | LinkEvent::Heard => None,
                LinkEvent::Silent(since) => Some(since),
            });
            if let Some(first) = first.take()
                && first.send(Ok(())).is_err()
            {
                self.carrier.close();
            }
        };
        let served = self.carrier.link(link, self.carriers.keepalive, on_news);
        let error = tokio::select! {
            served = served => why_ended(served),
            () = self.unused() => Error::Lost("nobody has needed it for a while".into()),
        };
        (linked.map(|linked| linked.elapsed()), error)
    }

    /// Returns once there has been no link for so long that the agent has ended its programs.
    async fn given_up(&self) {
        let since = *self.broken.borrow();
        match since {
            Some(since) => sleep_until(since + self.carriers.keepalive.grace).await,
            None => pending().await,
        }
    }

    /// Returns once nobody has used the carrier for a while and it is closed.
    async fn unused(&self) {
        let linger = self.carriers.linger;
        let mut since = Instant::now();
        while since.elapsed() < linger || !self.carrier.close_if_unused() {
            sleep((linger / 8).max(LOOK_AGAIN)).await;
            if !self.carrier.is_unused() {
                since = Instant::now();
            }
        }
    }
}

/// Why a link that was served is no more.
pub(in super::super) fn why_ended(served: Result<(), carrier::Error>) -> Error {
    match served {
        Ok(()) | Err(carrier::Error::Closed) => Error::Lost("the exec was closed".into()),
        Err(carrier::Error::Broken(source)) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => Error::Lost(source),
        },
        Err(error) => Error::Carrier(error),
    }
}

/// Returns once nobody waits for the first link any more. Never once there was one.
async fn abandoned(first: &mut Option<oneshot::Sender<Result<(), Error>>>) {
    match first {
        Some(first) => first.closed().await,
        None => pending().await,
    }
}
