//! Waiting until a DevServer runs, and showing on stderr what it waits for.

use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use super::{Caller, Error, Exit, time};
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
    let began = Instant::now();
    let mut progress = Progress { caller, began, shown: String::new() };
    let result = follow(&mut progress, name, generation, after(began, limit)).await;
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
    let mut seconds = interval_at(progress.began + SECOND, SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
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
            _ = seconds.tick() => {
                progress.draw().await;
                continue;
            }
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
                return Err(Error::failed(format!("`{name}` is {message}")));
            }
            Phase::Pending | Phase::Starting | Phase::Terminating => progress.show(&message).await,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// On a terminal one line that changes and counts the seconds, else a line for each change.
struct Progress<'a> {
    caller: &'a Caller,
    began: Instant,
    shown: String,
}

impl Progress<'_> {
    async fn show(&mut self, text: &str) {
        if text == self.shown {
            return;
        }
        self.shown = text.to_owned();
        match self.caller.is_on_terminal() {
            true => self.draw().await,
            false => self.caller.say(text).await,
        }
    }

    /// The line as it is now, where there is a terminal.
    async fn draw(&self) {
        let Some(columns) = self.caller.columns() else { return };
        let taken = match self.began.elapsed().as_secs() {
            0 => String::new(),
            seconds => format!(" {}", time::span(seconds)),
        };
        let room = usize::from(columns).saturating_sub(3 + taken.len());
        let short: String = self.shown.chars().take(room).collect();
        // What was there is written over rather than taken away first, which would flicker.
        self.caller.err(&format!("\r{short} …{taken}\x1b[K")).await;
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
    use std::sync::Arc;

    use futures::future::BoxFuture;
    use kube::client::Body;
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::devctl::{Beyond, Piece, Streams};
    use crate::workspace::{Shared, Usage};

    struct Nothing;

    impl Beyond for Nothing {
        fn usage<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Usage, String>> {
            Box::pin(async { Err("nobody knows".to_owned()) })
        }

        fn shared(&self) -> Option<Vec<Shared>> {
            None
        }

        fn known_hosts_line(&self, _: &str) -> Option<String> {
            None
        }
    }

    /// Somebody who waits for a cluster that says nothing, and what she sees.
    fn waits(columns: Option<u16>) -> (Caller, mpsc::Receiver<Piece>) {
        let silent = |_: http::Request<Body>| std::future::pending::<Result<http::Response<Body>, kube::Error>>();
        let (output, pieces) = mpsc::channel(64);
        let (_, lines) = mpsc::channel(1);
        let interrupted = CancellationToken::new();
        let columns: Arc<dyn Fn() -> Option<u16> + Send + Sync> = Arc::new(move || columns);
        let caller = Caller {
            client: kube::Client::new(tower::service_fn(silent), "default"),
            namespace: "dev-alice".to_owned(),
            devserver: None,
            chosen: false,
            streams: Streams { output, lines, columns, colour: false, interrupted },
            beyond: Arc::new(Nothing),
        };
        (caller, pieces)
    }

    async fn said(pieces: &mut mpsc::Receiver<Piece>) -> String {
        match pieces.recv().await {
            Some(Piece::Stderr(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("nothing was said, but {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_terminal_sees_that_time_goes_on() {
        let (caller, mut pieces) = waits(Some(24));
        let interrupted = caller.streams.interrupted.clone();
        let sees = async {
            assert_eq!(said(&mut pieces).await, "\rwaiting for the opera …\x1b[K");
            let next = said(&mut pieces).await;
            let (_, seconds) = next.trim_end_matches("s\x1b[K").split_once(" … ").unwrap();
            assert!(next.starts_with("\rwaiting ") && seconds.parse::<u32>().is_ok(), "{next:?}");
            interrupted.cancel();
        };
        let (ended, ()) = tokio::join!(until_running(&caller, "x", 1, Duration::MAX), sees);
        assert_eq!(ended.unwrap_err().exit, Exit::Interrupted);
    }

    #[tokio::test]
    async fn elsewhere_only_what_changes_is_told() {
        let (caller, mut pieces) = waits(None);
        let ended = until_running(&caller, "x", 1, Duration::from_millis(1500)).await;
        assert_eq!(ended.unwrap_err().exit, Exit::Unfinished);
        drop(caller);
        assert_eq!(said(&mut pieces).await, "waiting for the operator\n");
        assert!(pieces.recv().await.is_none());
    }

    #[test]
    fn for_ever_is_not_too_long_to_wait() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(60)), now + Duration::from_secs(60));
        assert!(after(now, Duration::MAX) > now);
    }
}
