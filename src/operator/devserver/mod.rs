//! `DevServer` → its home claim and its pod. The operator is the pod's controller; there is no Deployment in between.

mod announce;
mod apply;
mod asking;
mod build;
mod done;
mod ends;
mod events;
mod fetch;
mod going;
mod guests;
mod home;
mod idleness;
mod lifecycle;
mod limits;
mod memory;
mod offers;
mod refusal;
mod reservations;
mod resolve;
mod status;
mod step;
mod strays;
mod suspend;
mod team;
mod time_limit;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use jiff::Timestamp;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use tracing::warn;

use self::announce::Announced;
use self::done::{Done, Error};
use self::ends::Ends;
use self::events::EventWatches;
use self::fetch::Stores;
use self::going::Going;
use self::lifecycle::{Life, State};
use self::memory::Memories;
use self::reservations::Reservations;
use self::step::Step;
use self::time_limit::time_limit;
use super::Config;
use super::backoff::Backoff;
use super::publish::{publish, recorder};
use crate::api::{DevServer, Phase};
use crate::provisioning;
use crate::telemetry::chain;
use crate::watch::Unreadable;

struct Context {
    client: Client,
    config: Config,
    provisioning: provisioning::Config,
    stores: Stores,
    going: Going,
    memories: Memories,
    events: EventWatches,
    ends: Ends,
    announced: Announced,
    reservations: Reservations,
    /// Of which gone ones what is left is being deleted, and whether to look once more.
    clearing: DashMap<ObjectRef<DevServer>, bool>,
    /// Whom else to look at. The controller listens as long as this lives.
    others: UnboundedSender<ObjectRef<DevServer>>,
    recorder: Recorder,
    backoff: Backoff<ObjectRef<DevServer>>,
}

/// Reconciles DevServers for ever.
pub(super) async fn run(client: Client, config: Config, provisioning: provisioning::Config, unreadable: &Unreadable) {
    let (stores, changes) = watches::watch(&client, unreadable);
    let devservers = stores.devservers.clone();
    let (events, told) = EventWatches::new(client.clone());
    let (others, other_servers) = unbounded();
    let context = Arc::new(Context {
        recorder: recorder(client.clone()),
        client,
        config,
        provisioning,
        stores,
        going: Going::default(),
        memories: Memories::default(),
        events,
        ends: Ends::default(),
        announced: Announced::default(),
        reservations: Reservations::default(),
        clearing: DashMap::new(),
        others,
        backoff: Backoff::new(),
    });
    let triggers = changes.into_triggers(&context);
    Controller::for_stream(triggers.devservers.map(Ok), devservers)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_all_on(triggers.relists)
        .reconcile_on(triggers.concerned)
        .reconcile_on(told)
        .reconcile_on(other_servers)
        .run(reconcile, after_error, context.clone())
        .for_each_concurrent(None, |outcome| async {
            match outcome {
                // Something that was its own is there, or went after it.
                Err(controller::Error::ObjectNotFound(gone)) => {
                    strays::clear(&context, &gone.into_kind_unchecked(())).await;
                }
                Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {} // logged by the policy, with the pause
                Err(error) => warn!(error = chain(&error), "failed to watch DevServers and what they own"),
            }
        })
        .await;
}

/// Fetch, resolve, build, apply, status: each time all of it, whatever changed.
async fn reconcile(server: Arc<DevServer>, context: Arc<Context>) -> Result<Action, Error> {
    context.stores.ready.once().await;
    let key = ObjectRef::from_obj(&*server);
    let mut seen = context.stores.fetch(&server);
    seen.pod = context.going.seen(&key, seen.pod);
    let is_going = server.metadata.deletion_timestamp.is_some();
    let may_log_in = |user: &str| context.stores.may_log_in(user);
    let (role, binding) = (seen.guest_role.as_deref(), seen.guests.as_deref());
    let change = guests::change(&server, seen.pod.as_deref(), role, binding, may_log_in);
    // What keeps others out is no reason to leave the rest undone.
    let shared = guests::apply(&context.client, &server, change).await;
    let namespace = server.namespace().unwrap_or_default();
    let owner = context.stores.owner(&namespace);
    let terms = context.stores.terms(owner.as_deref(), &context.provisioning);
    let resolved = resolve::resolve(&server, &seen.flavors, &context.config)
        .and_then(|wanted| resolve::fit(wanted, &terms, &context.config))
        .and_then(|wanted| team::mount(wanted, &seen.team_volumes));
    let wanted = context.within_limits(&server, resolved, owner.as_deref());
    let limit = time_limit(&server, seen.pod.as_deref(), &seen.flavors, owner.as_deref());
    let mut server = server;
    let mut life = decide(&server, limit, &context);
    let mut unsuspended = None;
    if life.state == State::Due && !is_going {
        match suspend::mark(&context, &server).await {
            Ok(Some(marked)) => {
                server = Arc::new(marked);
                life = decide(&server, limit, &context);
            }
            Ok(None) => return Ok(Action::requeue(Duration::from_secs(1))),
            // Refused by an admission policy, say. It runs on, and that is told.
            Err(error) if error.is_refusal() => unsuspended = Some(error),
            Err(error) => return Err(error),
        }
    }
    let mut done = match &wanted {
        // Who deletes it ends it, whatever holds the object: without this the garbage collector would leave the pod.
        _ if is_going => {
            suspend::put_away(&context, &key, seen.pod.as_deref(), Step::End).await?;
            Done::nothing(seen)
        }
        // Told first, and then done: who wakes it meanwhile is to find that it slept, or its time would be over.
        _ if life.state == State::Asleep => Done::nothing(seen),
        Ok(wanted) => apply::apply(&context, &key, wanted, seen).await?,
        Err(_) => apply::keep(&context, &server, seen).await?,
    };
    if let Some(error) = &unsuspended {
        done.note = Some(format!("its time is over, and it cannot be suspended: {}", error.said()));
    }
    if let Err(error) = &shared {
        done.note.get_or_insert_with(|| format!("it cannot be shared yet: {}", guests::why(error)));
    }
    let told = server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if life.state != State::Asleep && status::is_in_doubt(told, done.pod.as_deref(), &context.events.notes(&key)) {
        context.events.look(&key).await.map_err(|error| Error::Events(Box::new(error)))?;
    }
    let notes = context.events.notes(&key);
    let mut status = status::status(&server, &life, wanted.as_ref().err(), &done, &notes);
    status.last_end = context.ends.newest(&server, status.last_end.take());
    if matches!(status.phase, Phase::Pending | Phase::Starting) {
        context.events.follow(&key, server.spec.startup_script.is_some());
    } else {
        context.events.unfollow(&key);
    }
    let told = apply::apply_status(&context.client, &server, &status).await;
    if life.state == State::Asleep && !is_going {
        suspend::put_away(&context, &key, done.pod.as_deref(), Step::Suspend).await?;
    }
    told?;
    for event in context.announced.news(&server, &status, Timestamp::now()) {
        publish(&context.recorder, &server.object_ref(&()), &event).await;
    }
    // Last, and as often as it takes.
    shared.map_err(|error| Error::Guests(Box::new(error)))?;
    unsuspended.map_or(Ok(()), Err)?;
    context.backoff.forget(&key);
    let look_again = done.look_again.into_iter().chain(life.look_again).min();
    Ok(look_again.map_or_else(Action::await_change, Action::requeue))
}

/// `limit`: for how long it may run, of its flavor's and its owner's.
fn decide(server: &DevServer, limit: Option<Duration>, context: &Context) -> Life {
    let now = Timestamp::now();
    let usage = idleness::usage(&server.status.clone().unwrap_or_default(), now);
    lifecycle::decide(server, &usage, limit, &context.config.lifecycle, now)
}

fn after_error(server: Arc<DevServer>, error: &Error, context: Arc<Context>) -> Action {
    let pause: Duration = context.backoff.after_failure(ObjectRef::from_obj(&*server));
    warn!(
        namespace = server.namespace(),
        devserver = server.name_any(),
        error = chain(error),
        retry_in = ?pause,
        "failed to reconcile a DevServer"
    );
    Action::requeue(pause)
}

impl Context {
    /// The DevServer is gone.
    fn forget(&self, key: &ObjectRef<DevServer>) {
        self.going.forget(key);
        self.memories.forget(key);
        self.events.unfollow(key);
        self.ends.forget(key);
        self.announced.forget(key);
        self.backoff.forget(key);
        self.reservations.look().set(key, false);
    }

    /// What went while a watch was lost is told by nobody.
    fn after_a_list(&self) {
        let is_there = |key: &ObjectRef<DevServer>| self.stores.devservers.get(key).is_some();
        self.going.retain(is_there);
        self.memories.retain(is_there);
        self.events.retain(is_there);
        self.ends.retain(is_there);
        self.announced.retain(is_there);
        self.backoff.retain(is_there);
        self.reservations.look().retain(is_there);
        for gone in self.stores.gone_but_not_all() {
            let _ = self.others.unbounded_send(gone);
        }
    }
}

/// DevServers reconciled at once: after a start all of them are due.
const CONCURRENCY: u16 = 32;
