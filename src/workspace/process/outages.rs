//! What a session should know of the link to its pod.

use std::time::Duration;

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::Output;

pub(super) struct Outages {
    broken_since: watch::Receiver<Option<Instant>>,
    /// Whether it knows of one.
    pub(super) told: bool,
}

impl Outages {
    /// Of a shorter one nothing is said.
    const PATIENCE: Duration = Duration::from_secs(5);

    pub(super) fn of(broken_since: watch::Receiver<Option<Instant>>) -> Self {
        Self { broken_since, told: false }
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Output {
        let Self { broken_since, told } = self;
        let heard = async {
            loop {
                let since = *broken_since.wait_for(|since| since.is_some() != *told).await?;
                let Some(since) = since else { return Ok::<_, RecvError>(Output::Resumed) };
                if timeout_at(since + Self::PATIENCE, broken_since.wait_for(Option::is_none)).await.is_err() {
                    return Ok(Output::Interrupted);
                }
            }
        };
        match heard.await {
            Ok(news) => {
                *told = !*told;
                news
            }
            // The stream's end tells.
            Err(_) => std::future::pending().await,
        }
    }
}
