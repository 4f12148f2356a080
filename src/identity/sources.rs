//! Notices when what says whose keys are whose may say something else: one task looks for all connections.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::registry::Registries;
use super::revoked::Version;
use crate::cache::Cache;

/// Between two looks at files; the cluster tells of its changes by itself.
const LOOK: Duration = Duration::from_secs(2);
/// Changes of users within so long are one: scripts bring many at once.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// The news of users' objects, key files, code hosts, authorities and revoked keys.
#[derive(Clone)]
pub(super) struct Sources {
    /// Marked with each change; the value differs once something outside the cluster's objects may.
    news: watch::Receiver<u64>,
    _looking: Arc<AbortOnDropHandle<()>>,
}

impl Sources {
    /// Watches users, `registries`, and `files` beside.
    pub(super) fn watch(cache: &Cache, registries: Registries, files: Vec<PathBuf>) -> Self {
        let (told, news) = watch::channel(0);
        let looking = look(cache.clone(), registries, files.into(), told);
        Self { news, _looking: Arc::new(AbortOnDropHandle::new(tokio::spawn(looking))) }
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }
}

async fn look(cache: Cache, registries: Registries, files: Arc<[PathBuf]>, told: watch::Sender<u64>) {
    let mut users = cache.user_changes();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = users.changed() => match changed {
                Ok(()) => {
                    sleep(DEBOUNCE).await;
                    users.mark_unchanged();
                    told.send_modify(|_| {});
                }
                // The watches end with a shutdown only.
                Err(_) => return,
            },
            _ = ticks.tick() => {
                let (registries, files) = (registries.clone(), files.clone());
                let Ok(now) = spawn_blocking(move || version(&registries, &files)).await else { continue };
                told.send_if_modified(|was| std::mem::replace(was, now) != now);
            }
        }
    }
}

fn version(registries: &Registries, files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    registries.version().hash(&mut hasher);
    for file in files {
        Version::of(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}
