//! `DevServerTeam` with a volume → for each member a PersistentVolume on the team's storage, and a claim bound to it in her
//! namespace. Both are taken away when she leaves or the volume does; the storage is never touched.
//!
//! The claim is owned by its volume, and a volume is deleted in the foreground: so the garbage collector deletes the claim,
//! when no pod mounts it any more, and the operator needs no right to delete claims. Those of homes it had better not have.

mod apply;
mod build;
mod known;
mod members;
mod outlook;
mod status;
mod template;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use self::known::{Claim, Kept, Known};
pub(super) use self::members::{as_it_is, members};
use super::backoff::doubled;
use super::error_chain;
use super::flavor::mirror::Mirror;
use super::watch::ours;
use crate::api::{DevServerTeam, DevServerUser, names};
use crate::watch::{self, Unreadable};

/// Gives the teams' volumes to their members for ever.
pub(super) async fn run(client: Client, unreadable: &Unreadable) {
    let watched = Watched::default();
    let all = watcher::Config::default;
    let of_teams = ours().labels(&format!("{}={},{}", names::MANAGED_BY_LABEL, names::MANAGED_BY, names::TEAM_LABEL));
    let with_namespace = |user: DevServerUser| user.status.as_ref()?.namespace.is_some().then(|| user.name_any());
    tokio::join!(
        watched.follow(watch::watch::<DevServerTeam>(&client, all(), unreadable), |known| &mut known.teams, Some),
        watched.follow(
            watch::watch::<DevServerUser>(&client, all(), unreadable),
            |known| &mut known.users,
            with_namespace
        ),
        watched.follow(
            watcher(Api::all(client.clone()), all()).default_backoff(),
            |known| &mut known.volumes,
            |volume: PersistentVolume| { Some(Kept::of(volume)) }
        ),
        watched.follow(
            watcher(Api::all(client.clone()), of_teams).default_backoff(),
            |known| &mut known.claims,
            |claim: PersistentVolumeClaim| { Some(Claim::of(&claim)) }
        ),
        watched.tend(client, unreadable),
    );
}

#[derive(Default)]
struct Watched {
    known: Mutex<Known>,
    changed: Notify,
}

impl Watched {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a watch, keeping of each object what `keep` makes of it.
    async fn follow<K: Resource, V>(
        &self,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        mirror: impl Fn(&mut Known) -> &mut Mirror<V>,
        keep: impl Fn(K) -> Option<V>,
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if mirror(&mut self.known()).take(event, &keep) {
                        self.changed.notify_one();
                    }
                }
                Err(error) => debug!(%error, "failed to watch what teams share"),
            }
        }
    }

    /// Takes the steps that are due, and tells in the teams' status what came of them.
    async fn tend(&self, client: Client, unreadable: &Unreadable) {
        // What could not be done, by the volume's name, and when it is tried again.
        let mut refused: HashMap<String, String> = HashMap::new();
        let mut failures = 0;
        let mut again = Instant::now();
        loop {
            match refused.is_empty() {
                true => self.changed.notified().await,
                // Over is as good as notified.
                false => drop(timeout_at(again, self.changed.notified()).await),
            }
            sleep(PAUSE).await;
            // What cannot be read is left out like what is gone, and nobody's volume goes for that.
            if unreadable.any::<DevServerTeam>() || unreadable.any::<DevServerUser>() {
                again = Instant::now() + FIRST_PAUSE;
                continue;
            }
            let Some(outlook) = self.known().outlook() else { continue };
            let is_due = Instant::now() >= again;
            let (steps, put_off): (Vec<_>, Vec<_>) =
                outlook.steps.into_iter().partition(|step| is_due || !refused.contains_key(&step.volume_name()));
            refused.retain(|name, _| put_off.iter().any(|step| step.volume_name() == *name));
            let outcomes: Vec<_> = stream::iter(steps)
                .map(|step| apply::take(&client, step))
                .buffer_unordered(CONCURRENCY)
                .filter_map(async |(name, outcome)| Some((name, outcome.err()?)))
                .collect()
                .await;
            if !outcomes.is_empty() {
                let pause = doubled(FIRST_PAUSE, LAST_PAUSE, failures);
                failures += 1;
                again = Instant::now() + pause;
                for (volume, error) in outcomes {
                    warn!(volume, error = error_chain(&error), retry_in = ?pause, "failed to share a team's volume");
                    refused.insert(volume, error.user_message());
                }
            } else if put_off.is_empty() {
                failures = 0;
            }
            let now = Time(Timestamp::now());
            for (team, standing) in &outlook.teams {
                let Some(status) = status::changed(team, standing, &refused, &now) else { continue };
                if let Err(error) = apply::write_status(&client, &team.name_any(), &status).await {
                    warn!(team = team.name_any(), %error, "failed to write the team's status");
                    self.changed.notify_one();
                }
            }
        }
    }
}

/// Several changes often come at once.
const PAUSE: Duration = Duration::from_millis(50);
/// Volumes made at once.
const CONCURRENCY: usize = 16;
/// Until what was refused is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
