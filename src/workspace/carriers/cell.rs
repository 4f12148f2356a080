//! Where the agent of one pod is kept once there is a link to it: opened by one login at a time, for all that wait.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::super::Error;
use super::super::agent::Agent;
use crate::carrier;
use crate::telemetry::chain;

#[derive(Default)]
pub(super) struct Cell {
    agent: OnceCell<Agent>,
    /// When a try last failed for all, and how.
    failed: Mutex<Option<(Instant, Failure)>>,
}

/// What a silent node costs each who asks it: all the time that it has to answer.
#[derive(Clone)]
enum Failure {
    Outage(String),
    Silent,
}

impl Cell {
    pub(super) fn get(&self) -> Option<&Agent> {
        self.agent.get()
    }

    /// The agent, by way of `open` unless somebody else has opened it. Whoever waited for a try that failed since, as
    /// the cluster or the node was away, hears of it with who tried: one after the other they would wait for ever. If
    /// who tries leaves, the next one does.
    pub(super) async fn get_or_open(&self, open: impl AsyncFnOnce() -> Result<Agent, Error>) -> Result<&Agent, Error> {
        let since = Instant::now();
        let open = async || {
            if let Some((_, failure)) = self.failed().as_ref().filter(|(when, _)| *when > since) {
                return Err(failure.clone().into());
            }
            let opened = open().await;
            if let Err(error) = &opened {
                *self.failed() = Failure::of(error).map(|failure| (Instant::now(), failure));
            }
            opened
        };
        self.agent.get_or_try_init(open).await
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Instant, Failure)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    /// None of a refusal: it comes at once, and may be of her alone who asked.
    fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Carrier(carrier::Error::Silent) => Some(Self::Silent),
            error if error.is_outage() => Some(Self::Outage(chain(error))),
            _ => None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Outage(why) => Self::Lost(why.into()),
            Failure::Silent => Self::Carrier(carrier::Error::Silent),
        }
    }
}

#[cfg(test)]
impl From<Agent> for Cell {
    fn from(agent: Agent) -> Self {
        Self { agent: OnceCell::new_with(Some(agent)), failed: Mutex::default() }
    }
}
