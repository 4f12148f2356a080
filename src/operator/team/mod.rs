//! `DevServerTeam` with a volume → for each member a PersistentVolume on the team's storage, and a claim bound to it in
//! her namespace. Both are taken away when she leaves or the volume does; the storage is never touched.
//!
//! The claim is owned by its volume, and a volume is deleted in the foreground: so the garbage collector deletes the
//! claim, when no pod mounts it any more, and the operator needs no right to delete claims. Those of homes it had
//! better not have.

mod apply;
mod build;
mod known;
mod members;
mod outlook;
mod status;
mod template;

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::WatchStreamExt;
use kube::runtime::events::Recorder;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use self::known::{Claim, Kept, Known};
pub(super) use self::members::Members;
use self::outlook::{Step, TeamState};
use super::mirrors::Watched;
use super::publish::{publish, recorder};
use super::refused::Refused;
use super::watch::ours;
use crate::api::{DevServerTeam, DevServerUser, names, write_status};
use crate::telemetry::chain;
use crate::watch::{self, Unreadable};

/// Gives the teams' volumes to their members for ever.
pub(super) async fn run(client: Client) {
    // Its own: what can be read again must be in what is kept here before its volume may go.
    let unreadable = &Unreadable::silent();
    let watched = Watched::new(Known::default());
    let all = watcher::Config::default;
    let of_teams = ours().labels(&format!("{}={},{}", names::MANAGED_BY_LABEL, names::MANAGED_BY, names::TEAM_LABEL));
    let with_namespace = |user: DevServerUser| user.status.as_ref()?.namespace.is_some().then(|| user.name_any());
    tokio::join!(
        watched.follow(WHAT, watch::watch::<DevServerTeam>(&client, all(), unreadable), |known| &mut known.teams, Some),
        watched.follow(
            WHAT,
            watch::watch::<DevServerUser>(&client, all(), unreadable),
            |known| &mut known.users,
            with_namespace
        ),
        watched.follow(
            WHAT,
            watcher(Api::all(client.clone()), all()).default_backoff(),
            |known| &mut known.volumes,
            |volume: PersistentVolume| { Some(Kept::of(volume)) }
        ),
        watched.follow(
            WHAT,
            watch::watch::<PersistentVolumeClaim>(&client, of_teams, &Unreadable::default()),
            |known| &mut known.claims,
            |claim: PersistentVolumeClaim| { Some(Claim::of(&claim)) }
        ),
        watched.tend(client, unreadable),
    );
}

impl Watched<Known> {
    /// Takes the steps that are due, and tells in the teams' status what came of them.
    async fn tend(&self, client: Client, unreadable: &Unreadable) {
        // By the volume's name.
        let mut refused = Refused::default();
        // Statuses that could not be written, by the team's name.
        let mut untold = Refused::default();
        let recorder = recorder(client.clone());
        loop {
            match refused.next().into_iter().chain(untold.next()).min() {
                None => self.changed.notified().await,
                // Over is as good as notified.
                Some(again) => drop(timeout_at(again, self.changed.notified()).await),
            }
            sleep(PAUSE).await;
            let Some(mut outlook) = self.known().outlook() else { continue };
            // What cannot be read is left out like what is gone, and nobody's volume goes for that.
            outlook.keep_volumes(|volume| {
                unreadable.why::<DevServerTeam>("", &volume.team).is_some()
                    || unreadable.why::<DevServerUser>("", &volume.user).is_some()
            });
            take_steps(&client, outlook.steps, &mut refused).await;
            tell(&client, &recorder, &outlook.teams, &refused, &mut untold).await;
        }
    }
}

async fn take_steps(client: &Client, mut steps: Vec<Step>, refused: &mut Refused) {
    let wanted: HashSet<String> = steps.iter().map(Step::volume_name).collect();
    refused.retain(|name| wanted.contains(name));
    let now = Instant::now();
    steps.retain(|step| refused.is_due(&step.volume_name(), now));
    let outcomes: Vec<_> =
        stream::iter(steps).map(|step| apply::take(client, step)).buffer_unordered(CONCURRENCY).collect().await;
    let now = Instant::now();
    for (volume, outcome) in outcomes {
        let Err(error) = outcome else {
            refused.forget(&volume);
            continue;
        };
        let pause = refused.put(volume.clone(), error.user_message(), now);
        warn!(volume, error = chain(&error), retry_in = ?pause, "failed to share a team's volume");
    }
}

/// Writes the statuses that are others than the teams have.
async fn tell(
    client: &Client,
    recorder: &Recorder,
    teams: &[(DevServerTeam, TeamState)],
    refused: &Refused,
    untold: &mut Refused,
) {
    let names: HashSet<String> = teams.iter().map(|(team, _)| team.name_any()).collect();
    untold.retain(|name| names.contains(name));
    let now = Time(Timestamp::now());
    let api: Api<DevServerTeam> = Api::all(client.clone());
    for (team, state) in teams {
        let name = team.name_any();
        let Some(status) = status::changed(team, state, refused, &now) else {
            untold.forget(&name);
            continue;
        };
        if !untold.is_due(&name, Instant::now()) {
            continue;
        }
        match write_status(&api, names::OPERATOR_FIELD_MANAGER, &name, &status).await {
            Ok(()) => {
                untold.forget(&name);
                if let Some(fault) = status::fault(team, &status) {
                    publish(recorder, &team.object_ref(&()), &fault).await;
                }
            }
            Err(error) => {
                let pause = untold.put(name.clone(), error.to_string(), Instant::now());
                warn!(team = name, error = chain(&error), retry_in = ?pause, "failed to write the team's status");
            }
        }
    }
}

/// As the log has it.
const WHAT: &str = "what teams share";
/// Several changes often come at once.
const PAUSE: Duration = Duration::from_millis(50);
/// Volumes made at once.
const CONCURRENCY: usize = 16;

#[cfg(test)]
#[cfg(feature = "embedded")]
mod tests;
