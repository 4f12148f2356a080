//! Whether whoever logged in may stay: a connection that would not be made any more is ended, with a sentence.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Of one connection; its clones are the same.
#[derive(Clone, Default)]
pub(super) struct Standing(Arc<Inner>);

#[derive(Default)]
struct Inner {
    lapsed: CancellationToken,
    why: OnceLock<String>,
}

impl Standing {
    /// From now on she may not; `why` is a sentence for her.
    pub(super) fn end(&self, why: String) {
        // The first reason is the one.
        let _ = self.0.why.set(why);
        self.0.lapsed.cancel();
    }

    /// One that ends with this one, or with `reason`, for as long as the handle is kept.
    pub(super) fn within(
        &self,
        reason: impl Future<Output = String> + Send + 'static,
    ) -> (Self, AbortOnDropHandle<()>) {
        let (outer, inner) = (self.clone(), Self::default());
        let ends = inner.clone();
        let watching = tokio::spawn(async move {
            let why = tokio::select! {
                why = outer.ended() => why.to_owned(),
                why = reason => why,
            };
            ends.end(why);
        });
        (inner, AbortOnDropHandle::new(watching))
    }

    pub(super) fn holds(&self) -> bool {
        !self.0.lapsed.is_cancelled()
    }

    /// Waits until she may not stay. Cancel safe.
    pub(super) async fn ended(&self) -> &str {
        self.0.lapsed.cancelled().await;
        self.0.why.get().map_or("", String::as_str)
    }
}
