//! Waiting until a DevServer runs, and showing on stderr what it waits for.

use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use tokio::time::{Instant, timeout_at};

use super::{Caller, Error, Exit};
use crate::api::{DevServer, DevServerStatus, Phase};
use crate::plain::plain;

/// Waits until `name` runs, and gives what is told of it then; of a status that is older than `generation` nothing is
/// believed.
pub(super) async fn until_running(
    caller: &Caller,
    name: &str,
    generation: i64,
    limit: Duration,
) -> Result<DevServerStatus, Error> {
    let mut progress = Progress { caller, shown: String::new() };
    let result = follow(&mut progress, name, generation, after(Instant::now(), limit)).await;
    progress.clear().await;
    result
}

/// `limit` after `now`; clocks do not count for ever, and nobody waits that long.
fn after(now: Instant, limit: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    now + limit.min(LONGEST)
}

async fn follow(
    progress: &mut Progress<'_>,
    name: &str,
    generation: i64,
    deadline: Instant,
) -> Result<DevServerStatus, Error> {
    let caller = progress.caller;
    let mut changes = watch_object(caller.api::<DevServer>(), name).default_backoff().boxed();
    let mut message = "waiting for the operator".to_owned();
    progress.show(&message).await;
    loop {
        let change = tokio::select! {
            biased;
            () = caller.streams.interrupted.cancelled() => {
                return Err(Error::new(
                    Exit::Interrupted,
                    format!("`{name}` is still starting ({message}); `devctl why {name}` tells more, `devctl delete {name}` ends it"),
                ));
            }
            change = timeout_at(deadline, changes.next()) => change,
        };
        let server = match change {
            Ok(Some(Ok(Some(server)))) => server,
            Ok(Some(Ok(None))) => return Err(Error::not_found(format!("`{name}` was deleted meanwhile"))),
            // The watch is opened again; a cluster that stays away is told of when the time is over.
            Ok(Some(Err(watcher::Error::InitialListFailed(kube::Error::Api(status))))) if status.code == 403 => {
                return Err(Error::of_api(kube::Error::Api(status)));
            }
            Ok(Some(Err(_))) => {
                progress.show("the cluster does not answer; trying again").await;
                continue;
            }
            Ok(None) | Err(_) => {
                return Err(Error::new(
                    Exit::Unfinished,
                    format!(
                        "`{name}` is not ready yet ({message}); it is still starting: `devctl why {name}` tells more"
                    ),
                ));
            }
        };
        let Some(status) = server.status.filter(|status| status.observed_generation >= Some(generation)) else {
            continue;
        };
        let said = status.message.clone().unwrap_or_else(|| format!("{:?}", status.phase).to_lowercase());
        message = plain(&said);
        match status.phase {
            Phase::Running => return Ok(status),
            Phase::Failed => {
                return Err(Error::failed(format!(
                    "`{name}` cannot run: {message}; `devctl why {name}` says what to do"
                )));
            }
            Phase::Suspended => {
                return Err(Error::failed(format!(
                    "`{name}` is suspended: {message}; `devctl resume {name}` resumes it"
                )));
            }
            Phase::Pending | Phase::Starting | Phase::Terminating => progress.show(&message).await,
        }
    }
}

/// One line that changes on a terminal, else a line for each change.
struct Progress<'a> {
    caller: &'a Caller,
    shown: String,
}

impl Progress<'_> {
    async fn show(&mut self, text: &str) {
        if text == self.shown {
            return;
        }
        match self.caller.columns() {
            Some(columns) => {
                let room = usize::from(columns).saturating_sub(3);
                let short: String = text.chars().take(room).collect();
                self.caller.err(&format!("\r\x1b[K{short} …")).await;
            }
            None => self.caller.say(text).await,
        }
        self.shown = text.to_owned();
    }

    async fn clear(&self) {
        if !self.shown.is_empty() && self.caller.is_on_terminal() {
            self.caller.err("\r\x1b[K").await;
        }
    }
}

/// The DevServer as it is once the operator has heard of `generation`; none if that takes longer than `limit`.
pub(super) async fn until_observed(caller: &Caller, name: &str, generation: i64, limit: Duration) -> Option<DevServer> {
    let mut changes = watch_object(caller.api::<DevServer>(), name).default_backoff().boxed();
    let deadline = Instant::now() + limit;
    loop {
        let change = timeout_at(deadline, changes.next()).await.ok()??;
        let Ok(Some(server)) = change else { continue };
        let observed = server.status.as_ref().and_then(|status| status.observed_generation);
        if observed >= Some(generation) {
            return Some(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_ever_is_not_too_long_to_wait() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(60)), now + Duration::from_secs(60));
        assert!(after(now, Duration::MAX) > now);
    }
}
