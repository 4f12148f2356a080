//! Waiting for a condition instead of sleeping.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long anything may take that nothing is said about: generous, for busy machines; failures only wait so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Asks `probe` until it has an answer.
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(LIMIT, what, probe).await
}

/// Asks `probe` until it has an answer, for at most `limit`.
pub(crate) async fn eventually_within<T>(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = within(limit, what, probe()).await {
            return answer;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Fails the test when `future` takes longer than `limit`.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}

/// Tests that move hundreds of megabytes take turns, so that what they measure is the product.
pub(crate) async fn heavy() -> SemaphorePermit<'static> {
    static TURN: Semaphore = Semaphore::const_new(1);
    TURN.acquire().await.expect("the semaphore is never closed")
}
