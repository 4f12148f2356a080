//! `DevServerUser` → her namespace and what is in it. Deleting a user deletes nothing of hers.

mod effect;
mod logins;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ObjectReference, ResourceQuota, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{EventType, Recorder};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;
use tracing::{info, warn};

use self::effect::{Effect, effects};
use self::logins::Logins;
use super::backoff::Backoff;
use super::children::disturbed;
use super::publish::{event, newly_false, publish, recorder};
use super::roles::{self, Outcome};
use super::team::Members;
use super::watch::{Change, Ready, reflect_listed};
use crate::api::user::UserPhase;
use crate::api::{DevServerTeam, DevServerUser, DevServerUserStatus, conditions, names, write_status};
use crate::provisioning::{self, Quotas};
use crate::telemetry::chain;
use crate::watch::Unreadable;

/// Reconciles users for ever. `code_hosts` are those that their accounts may name.
pub(super) async fn run(
    client: Client,
    resync: Duration,
    config: provisioning::Config,
    code_hosts: Vec<String>,
    unreadable: &Unreadable,
) {
    let (relisted, relists) = futures::channel::mpsc::unbounded();
    let mut ready = Ready::default();
    let members = Arc::new(Members::new(|team| (team.spec.dev_server.clone(), team.spec.quotas.clone())));
    let (teams, team_changes) = ready.of(reflect_listed(&client, unreadable, relisted.clone(), {
        let members = members.clone();
        move |team: &DevServerTeam| members.listed(team)
    }));
    let logins = Arc::new(Logins::default());
    let (store, changes) = ready.of(reflect_listed(&client, unreadable, relisted, {
        let logins = logins.clone();
        move |user: &DevServerUser| logins.listed(user)
    }));
    let recorder = recorder(client.clone());
    let context = Arc::new(Context {
        client: client.clone(),
        recorder: recorder.clone(),
        config,
        code_hosts,
        resync,
        users: store.clone(),
        teams,
        unreadable: unreadable.clone(),
        ready,
        backoff: Backoff::new(),
    });
    let (gone, mut departures) = mpsc::unbounded_channel();
    let (rival, rivals) = futures::channel::mpsc::unbounded();
    let users = changes.filter_map({
        let (context, unreadable) = (context.clone(), unreadable.clone());
        move |change| {
            let all = context.users.state();
            for other in logins.affected(&change, all.iter().map(|user| &**user)) {
                // The receiver lives as long as this stream.
                let _ = rival.unbounded_send(ObjectRef::new(&other));
            }
            if let Change::Deleted(user) = &change {
                let name = user.name_any();
                context.backoff.forget(&name);
                if unreadable.why::<DevServerUser>("", &name).is_none() {
                    // The receiver lives as long as this stream.
                    let _ = gone.send(name);
                }
            }
            std::future::ready(change.into_applied())
        }
    });
    let disturbed = stream::select_all([
        disturbed::<Namespace>(&client).boxed(),
        disturbed::<ServiceAccount>(&client).boxed(),
        disturbed::<RoleBinding>(&client).boxed(),
        disturbed::<ResourceQuota>(&client).boxed(),
        disturbed::<LimitRange>(&client).boxed(),
        disturbed::<NetworkPolicy>(&client).boxed(),
    ])
    .filter_map(|user| {
        let user =
            user.inspect_err(|error| warn!(error = chain(error), "failed to watch what is in users' namespaces"));
        std::future::ready(user.ok())
    });
    let of_teams = team_changes
        .flat_map(move |change| stream::iter(members.affected(&change)).map(|member| ObjectRef::new(&member)));
    let reconciling = Controller::for_stream(users.map(Ok), store)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_all_on(relists)
        .reconcile_on(of_teams)
        .reconcile_on(rivals)
        .reconcile_on(disturbed)
        .run(reconcile, after_error, context)
        .for_each(|outcome| async {
            match outcome {
                // What a user owned went after the user herself.
                Ok(_) | Err(controller::Error::ObjectNotFound(_)) => {}
                Err(controller::Error::ReconcilerFailed(..)) => {} // logged by the policy, with the pause
                Err(error) => warn!(error = chain(&error), "failed to watch users"),
            }
        });
    let telling = async {
        while let Some(user) = departures.recv().await {
            say_what_is_kept(&recorder, &user).await;
        }
    };
    tokio::join!(reconciling, telling);
}

struct Context {
    client: Client,
    recorder: Recorder,
    config: provisioning::Config,
    code_hosts: Vec<String>,
    resync: Duration,
    users: Store<DevServerUser>,
    teams: Store<DevServerTeam>,
    unreadable: Unreadable,
    ready: Ready,
    backoff: Backoff<String>,
}

async fn reconcile(user: Arc<DevServerUser>, context: Arc<Context>) -> Result<Action, Error> {
    if user.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    context.ready.once().await;
    let name = user.name_any();
    let teams = context.teams.state();
    let complete = DevServerTeam::complete(&user, teams.iter().map(|team| &**team));
    // It might be her team that says what hers are.
    let quotas = if context.unreadable.any::<DevServerTeam>() { Quotas::Kept } else { Quotas::Known };
    let (tell, mut told) = mpsc::unbounded_channel::<String>();
    let progress = move |message: &str| {
        // Whoever listens does so until this function returns.
        let _ = tell.send(message.to_owned());
    };
    let (outcome, ()) = tokio::join!(
        async {
            let progress = progress;
            provisioning::ensure_user(&context.client, &complete, quotas, &context.config, &progress).await
        },
        async {
            while let Some(message) = told.recv().await {
                if let Err(error) =
                    apply_status(&context, &user, UserPhase::Pending, "Waiting", Some(message), None).await
                {
                    warn!(user = name, error = chain(&error), "failed to write the user's status");
                }
            }
        }
    );
    match outcome {
        Ok(()) => {
            let bound = roles::bind(&context.client, &user).await;
            let outcome = bound.as_ref().map_or_else(|error| Outcome::Failed(chain(error)), Outcome::clone);
            let message = outcome.message();
            // Nobody tells when the operator gets a right.
            let again = message.as_ref().map_or(context.resync, |_| REFUSED.min(context.resync));
            apply_status(&context, &user, UserPhase::Ready, "Provisioned", message, Some(&outcome)).await?;
            bound.map_err(|error| Error::Roles(Box::new(error)))?;
            context.backoff.forget(&name);
            Ok(Action::requeue(again))
        }
        // Only another object can help: names do not change.
        Err(error @ provisioning::Error::Name(_)) => {
            apply_status(&context, &user, UserPhase::Failed, "InvalidName", Some(error.to_string()), None).await?;
            Ok(Action::await_change())
        }
        // An administrator has to decide, and nobody tells when one did.
        Err(error @ provisioning::Error::NotHers { .. }) => {
            apply_status(&context, &user, UserPhase::Failed, "NamespaceTaken", Some(error.to_string()), None).await?;
            context.backoff.forget(&name);
            Ok(Action::requeue(REFUSED.min(context.resync)))
        }
        Err(error) => {
            let message = chain(&error);
            apply_status(&context, &user, UserPhase::Failed, "ProvisioningFailed", Some(message), None).await?;
            Err(Error::Provisioning(error))
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to provision the user")]
    Provisioning(#[source] provisioning::Error),
    #[error("failed to bind the user's roles")]
    Roles(#[source] Box<kube::Error>),
    #[error("failed to write the user's status")]
    Status(#[source] Box<kube::Error>),
}

fn after_error(user: Arc<DevServerUser>, error: &Error, context: Arc<Context>) -> Action {
    let pause = context.backoff.after_failure(user.name_any());
    warn!(user = user.name_any(), error = chain(error), retry_in = ?pause, "failed to reconcile a user");
    Action::requeue(pause)
}

async fn apply_status(
    context: &Context,
    user: &DevServerUser,
    phase: UserPhase,
    reason: &str,
    message: Option<String>,
    roles: Option<&Outcome>,
) -> Result<(), Error> {
    let old = user.status.clone().unwrap_or_default();
    let generation = user.metadata.generation;
    let now = Time(jiff::Timestamp::now());
    let mut status = DevServerUserStatus {
        phase,
        namespace: Some(names::namespace(&user.name_any()))
            .filter(|_| phase == UserPhase::Ready)
            .or(old.namespace.clone()),
        observed_generation: generation,
        conditions: old.conditions.clone(),
        message: message.clone(),
    };
    let text = message.unwrap_or_default();
    let users = context.users.state();
    let effects = effects(user, users.iter().map(|user| &**user), &context.code_hosts);
    if phase == UserPhase::Ready {
        status.message = with_effects(status.message, &effects);
    }
    let is_ready = phase == UserPhase::Ready;
    let ready = conditions::condition(conditions::READY, is_ready, reason, &text, generation, now.clone());
    conditions::set(&mut status.conditions, ready);
    if let Some(roles) = roles {
        roles.set_condition(&mut status.conditions, generation, now.clone());
    }
    for effect in &effects {
        effect.set_condition(&mut status.conditions, generation, now.clone());
    }
    if user.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let users: Api<DevServerUser> = Api::all(context.client.clone());
    let written = write_status(&users, names::OPERATOR_FIELD_MANAGER, &user.name_any(), &status).await;
    written.map_err(|error| Error::Status(Box::new(error)))?;
    if let Some(refused) = newly_false(conditions::ROLES_BOUND, &old.conditions, &status.conditions) {
        let event = event(EventType::Warning, "RolesNotBound", "Bind", &refused.message);
        publish(&context.recorder, &user.object_ref(&()), &event).await;
    }
    Ok(())
}

/// What is told of a user who is ready.
fn with_effects(message: Option<String>, effects: &[Effect]) -> Option<String> {
    let without: Vec<_> =
        message.into_iter().chain(effects.iter().filter_map(Effect::message).map(str::to_owned)).collect();
    (!without.is_empty()).then(|| without.join("; "))
}

/// No finalizer: it would only hold up the deletion, and nothing has to be undone.
async fn say_what_is_kept(recorder: &Recorder, user: &str) {
    let namespace = names::namespace(user);
    let note = format!(
        "DevServerUser {user} was deleted: {user} can no longer log in. Namespace {namespace}, its DevServers and their \
         homes are kept; delete the namespace to remove them"
    );
    info!(user, namespace, "user deleted; the namespace, its DevServers and their homes are kept");
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Namespace".to_owned()),
        name: Some(namespace),
        ..ObjectReference::default()
    };
    publish(recorder, &about, &event(EventType::Normal, "UserDeleted", "Keep", &note)).await;
}

/// How often a role that the operator may not hand out, or a namespace that is not its own, is tried again.
const REFUSED: Duration = Duration::from_secs(60);

/// Users provisioned at once: after a start all of them are due.
const CONCURRENCY: u16 = 16;
