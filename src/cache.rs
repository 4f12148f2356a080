//! What the cluster says of users and DevServers, kept current by watches: a login reads from here and lists nothing.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api::{DevServer, DevServerTeam, DevServerUser, names};
use crate::telemetry::chain;
use crate::watch::{self as watches, Unreadable};

/// Longer than between two tries to open a watch, which come ever more slowly, up to half a minute.
const TRIES: Duration = Duration::from_secs(45);

/// Users, their teams and DevServers as last heard of.
#[derive(Clone)]
pub struct Cache {
    users: Store<DevServerUser>,
    devservers: Store<DevServer>,
    teams: Store<DevServerTeam>,
    changes: watch::Receiver<()>,
    user_changes: watch::Receiver<()>,
    /// Whether each watch runs.
    healthy: [Arc<Health>; 3],
    unreadable: Unreadable,
}

impl Cache {
    /// Starts the watches. They end with `shutdown`.
    pub fn start(client: &kube::Client, shutdown: &CancellationToken) -> Self {
        let (changed, changes) = watch::channel(());
        let (user_changed, user_changes) = watch::channel(());
        let of_users = {
            let changed = changed.clone();
            move || {
                changed.send_replace(());
                user_changed.send_replace(());
            }
        };
        let of_teams = {
            let changed = changed.clone();
            move || changed.send_replace(())
        };
        let of_devservers = move || changed.send_replace(());
        let unreadable = Unreadable::default();
        let (users, users_healthy, users_watch) = watch_all(client, of_users, |_| {}, &unreadable);
        let (devservers, devservers_healthy, devservers_watch) = watch_all(client, of_devservers, slim, &unreadable);
        let (teams, teams_healthy, teams_watch) = watch_all(client, of_teams, |_| {}, &unreadable);
        let healthy = [users_healthy, devservers_healthy, teams_healthy];
        for watch in [users_watch.boxed(), devservers_watch.boxed(), teams_watch.boxed()] {
            let shutdown = shutdown.clone();
            tokio::spawn(async move { shutdown.run_until_cancelled(watch).await });
        }
        Self { users, devservers, teams, changes, user_changes, healthy, unreadable }
    }

    /// Waits until everything is known once.
    pub async fn ready(&self) {
        // An error means that the watch's task is gone, which only a shutdown does.
        let _ = self.users.wait_until_ready().await;
        let _ = self.devservers.wait_until_ready().await;
        let _ = self.teams.wait_until_ready().await;
    }

    /// Whether all watches run.
    pub fn is_current(&self) -> bool {
        self.healthy.iter().all(|health| health.is_good(Instant::now()))
    }

    /// The user whose object is named `name`.
    pub fn user(&self, name: &str) -> Option<Arc<DevServerUser>> {
        self.users.get(&ObjectRef::new(name))
    }

    /// Why the user object `name` cannot be read, if there is one that cannot. What is in it is not known: not whom it
    /// keeps out, nor what it forbids.
    pub fn unreadable_user(&self, name: &str) -> Option<String> {
        self.unreadable.why::<DevServerUser>("", name)
    }

    /// Why `user`'s DevServer `name` cannot be read, if there is one that cannot.
    pub fn unreadable_devserver(&self, user: &str, name: &str) -> Option<String> {
        self.unreadable.why::<DevServer>(&names::namespace(user), name)
    }

    /// Whether there is a team that cannot be read. Who belongs to it is not known, nor what it says.
    pub fn has_unreadable_team(&self) -> bool {
        self.unreadable.any::<DevServerTeam>()
    }

    /// `user` with what her teams say where she says nothing.
    pub fn with_teams(&self, user: &DevServerUser) -> DevServerUser {
        let teams = self.teams.state();
        DevServerTeam::complete(user, teams.iter().map(|team| &**team))
    }

    /// The user whose object is named `login`, or else the first of those who list it among their further login names.
    pub fn user_of_login(&self, login: &str) -> Option<Arc<DevServerUser>> {
        self.user(login).or_else(|| {
            let users = self.users.state().into_iter();
            let listing = users.filter(|user| user.spec.logins.iter().any(|other| other == login));
            listing.reduce(|first, user| if user.precedes(&first) { user } else { first })
        })
    }

    /// `user`'s DevServer `name`.
    pub fn devserver(&self, user: &str, name: &str) -> Option<Arc<DevServer>> {
        self.devserver_in(&names::namespace(user), name)
    }

    /// DevServer `name` of `namespace`.
    pub fn devserver_in(&self, namespace: &str, name: &str) -> Option<Arc<DevServer>> {
        self.devservers.get(&ObjectRef::new(name).within(namespace))
    }

    /// The names of `user`'s DevServers, sorted.
    pub fn devservers_of(&self, user: &str) -> Vec<String> {
        let namespace = names::namespace(user);
        let of_user = |server: &Arc<DevServer>| server.metadata.namespace.as_deref() == Some(&namespace);
        let mut found: Vec<_> =
            self.devservers.state().iter().filter(|s| of_user(s)).filter_map(|s| s.metadata.name.clone()).collect();
        found.sort();
        found
    }

    /// Everybody's.
    pub fn devservers(&self) -> Vec<Arc<DevServer>> {
        self.devservers.state()
    }

    /// Marked whenever anything changes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.clone()
    }

    /// Marked whenever a user changes; DevServers do so far more often.
    pub fn user_changes(&self) -> watch::Receiver<()> {
        self.user_changes.clone()
    }
}

/// Leaves out what only the operator or nobody needs, which may be a thousand times as long as the rest.
fn slim(server: &mut DevServer) {
    let (metadata, spec) = (&mut server.metadata, &mut server.spec);
    (metadata.labels, metadata.annotations, metadata.finalizers) = Default::default();
    (spec.env, spec.command, spec.startup_script) = Default::default();
}

/// How a watch does, from when it is taken to run; none before it brought anything.
#[derive(Default)]
struct Health(Mutex<Option<Instant>>);

impl Health {
    /// Takes in what came; whether there is anything new.
    fn take<K>(&self, event: &Event<K>, now: Instant) -> bool {
        // That a list begins, not that it can be had.
        if matches!(event, Event::Init | Event::InitApply(_)) {
            return false;
        }
        *self.0.lock() = Some(now);
        true
    }

    /// That it is open again is told by nothing, where nothing changes. While it is not, each try says so.
    fn broke(&self, now: Instant) {
        if let Some(runs_from) = &mut *self.0.lock() {
            *runs_from = now + TRIES;
        }
    }

    fn is_good(&self, now: Instant) -> bool {
        self.0.lock().is_some_and(|runs_from| runs_from <= now)
    }
}

/// The store, whether its watch runs, and the watch. What is stored has been through `slim`.
fn watch_all<K, F>(
    client: &Client,
    changed: F,
    slim: fn(&mut K),
    unreadable: &Unreadable,
) -> (Store<K>, Arc<Health>, impl Future<Output = ()> + Send + use<K, F>)
where
    K: Resource<DynamicType = ()> + Clone + Default + Debug + DeserializeOwned + Send + Sync + 'static,
    F: Fn() + Send + 'static,
{
    let (store, writer) = reflector::store();
    let events = watches::watch(client, watches::in_pages(), unreadable).modify(slim).reflect(writer);
    let healthy = Arc::<Health>::default();
    let health = healthy.clone();
    let watch = events.for_each(move |event| {
        match event {
            Ok(event) => {
                if health.take(&event, Instant::now()) {
                    changed();
                }
            }
            Err(error) => {
                health.broke(Instant::now());
                warn!(error = chain(&error), kind = %K::kind(&()), "the watch broke; opening it again");
            }
        }
        futures::future::ready(())
    });
    (store, healthy, watch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::DevServerSpec;

    /// A replica was not ready until somebody changed an object.
    #[test]
    fn a_watch_that_is_open_again_runs_though_nothing_changes() {
        let (health, now) = (Health::default(), Instant::now());
        health.broke(now);
        assert!(!health.take(&Event::Init::<()>, now) && !health.take(&Event::InitApply(()), now));
        assert!(!health.is_good(now + TRIES), "it has brought nothing yet");
        assert!(health.take(&Event::InitDone::<()>, now));
        assert!(health.is_good(now));
        health.broke(now);
        assert!(!health.is_good(now));
        assert!(health.is_good(now + TRIES));
        health.broke(now);
        assert!(health.take(&Event::Delete(()), now));
        assert!(health.is_good(now));
    }

    #[test]
    fn what_only_the_operator_needs_is_not_kept() {
        let object = json!({
            "metadata": { "name": "dev", "annotations": { "a": "long" }, "uid": "u" },
            "spec": {
                "image": "ubuntu", "command": ["a"], "startupScript": "b",
                "env": [{ "name": "C", "value": "d" }], "share": [{ "user": "bob" }],
            },
        });
        let mut server: DevServer = serde_json::from_value(object).unwrap();
        slim(&mut server);
        assert!(server.metadata.annotations.is_none() && server.metadata.uid.is_some());
        let DevServerSpec { image, command, startup_script, env, share, .. } = server.spec;
        assert!(command.is_none() && startup_script.is_none() && env.is_empty());
        assert!(image.is_some() && share.len() == 1);
    }
}
