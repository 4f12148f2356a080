//! What users are told of a suspension that is planned, in each session of that DevServer.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use super::share::{self, Access, Place};
use super::wake;
use crate::api::{Phase, Suspension, SuspensionReason};
use crate::cache::Cache;

/// The suspensions that are planned for DevServers that somebody follows. One task looks for all of them, so that an
/// idle session does not wake with every change in the cluster.
#[derive(Clone)]
pub(super) struct Plans {
    cache: Cache,
    /// By namespace and name.
    followed: Arc<DashMap<(String, String), watch::Sender<Plan>>>,
}

pub(super) type Plan = Option<Suspension>;

impl Plans {
    /// Its task ends with the cache's watches.
    pub(super) fn start(cache: Cache) -> Self {
        let plans = Self { cache, followed: Arc::default() };
        tokio::spawn(plans.clone().follow());
        plans
    }

    /// What is planned for DevServer `name` of `namespace`, from now on.
    pub(super) fn of(&self, namespace: &str, name: &str) -> watch::Receiver<Plan> {
        let key = (namespace.to_owned(), name.to_owned());
        let new = || watch::Sender::new(self.planned(namespace, name));
        self.followed.entry(key).or_insert_with(new).subscribe()
    }

    async fn follow(self) {
        let mut changes = self.cache.changes();
        while changes.changed().await.is_ok() {
            self.followed.retain(|(namespace, name), plan| {
                let new = self.planned(namespace, name);
                plan.send_if_modified(|old| {
                    let changed = *old != new;
                    *old = new;
                    changed
                });
                plan.receiver_count() > 0
            });
            sleep(PAUSE).await;
        }
    }

    fn planned(&self, namespace: &str, name: &str) -> Option<Suspension> {
        let server = self.cache.devserver_in(namespace, name)?;
        let status = server.status.as_ref().filter(|status| status.phase != Phase::Suspended)?;
        status.suspension.clone().filter(|_| !wake::sleeps(&server))
    }
}

/// The texts to show in a session of a DevServer to whoever is in it, each when it is time.
pub(super) fn texts(plan: watch::Receiver<Plan>, audience: Audience) -> BoxStream<'static, String> {
    let turn = move |(mut plan, mut told): (watch::Receiver<Plan>, Told)| {
        let audience = audience.clone();
        async move {
            loop {
                let current = plan.borrow_and_update().clone();
                let (left, next) = told.turn(current.as_ref(), Timestamp::now());
                if let (Some(left), Some(current)) = (left, &current) {
                    return Some((audience.text(current, left), (plan, told)));
                }
                let wait = async {
                    match next {
                        Some(next) => sleep(next).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = wait => {}
                    changed = plan.changed() => changed.ok()?,
                }
            }
        }
    };
    stream::unfold((plan, Told::default()), turn).boxed()
}

/// Whoever is told, and of which DevServer.
#[derive(Clone)]
pub(super) struct Audience {
    owner: String,
    called: String,
    access: Access,
}

impl Audience {
    pub(super) fn of(place: &Place<'_>) -> Self {
        Self { owner: place.owner.to_owned(), called: place.called(), access: place.access }
    }

    fn text(&self, plan: &Suspension, left: Duration) -> String {
        let left = match left.as_secs() {
            seconds @ ..90 => format!("{seconds} s"),
            seconds => format!("{} min", (seconds + 30) / 60),
        };
        let Self { owner, called, access } = self;
        if *access == Access::Owner {
            let message = share::from_inside(&plan.sentence(), owner);
            return format!("your DevServer `{called}` will be suspended in {left}: {message}");
        }
        let advice = match (plan.reason, access) {
            (SuspensionReason::Idle, Access::Guest) => "; type something, or its owner can put that off",
            _ if plan.advice.is_some() => "; its owner can put that off",
            _ => "",
        };
        format!("`{called}` will be suspended in {left}: {}{advice}", plan.message)
    }
}

/// Of what a session was told last, and how near it was.
#[derive(Default)]
struct Told(Option<(SuspensionReason, Duration)>);

impl Told {
    /// How much time is left, if that is to be told now; and when to look again although the plan does not change.
    fn turn(&mut self, plan: Option<&Suspension>, now: Timestamp) -> (Option<Duration>, Option<Duration>) {
        let Some(plan) = plan else {
            self.0 = None;
            return (None, None);
        };
        let left = Duration::try_from(plan.time.0.duration_since(now)).unwrap_or_default();
        let mark = MARKS.into_iter().filter(|mark| left <= *mark).min().unwrap_or(Duration::MAX);
        let next = MARKS.into_iter().filter(|next| *next < mark).max().map(|next| left.saturating_sub(next));
        let is_news = self.0.is_none_or(|(reason, told)| reason != plan.reason || mark < told);
        self.0 = Some((plan.reason, mark));
        (is_news.then_some(left), next)
    }
}

/// It is told when a suspension is planned, and again when no more than this is left.
const MARKS: [Duration; 4] =
    [Duration::from_mins(30), Duration::from_mins(15), Duration::from_mins(5), Duration::from_mins(1)];
/// Between two looks, whatever happens in the cluster.
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_mins(minutes)
    }

    fn plan(minutes: i64, reason: SuspensionReason) -> Suspension {
        Suspension { time: Time(at(minutes)), reason, message: "why".to_owned(), advice: None }
    }

    #[test]
    fn a_plan_is_told_when_it_comes_up_and_at_each_mark() {
        let plan = plan(30, SuspensionReason::Expired);
        let (mut told, mut now, mut minutes) = (Told::default(), at(0), Vec::new());
        loop {
            let (left, next) = told.turn(Some(&plan), now);
            minutes.extend(left.map(|left| left.as_secs() / 60));
            // A look in between, because something else changed, tells nothing.
            assert_eq!(told.turn(Some(&plan), now).0, None);
            let Some(next) = next else { break };
            now += SignedDuration::try_from(next).unwrap();
        }
        assert_eq!(minutes, [30, 15, 5, 1]);
    }

    #[test]
    fn what_is_put_off_is_told_at_the_next_mark_only_and_another_reason_at_once() {
        let mut told = Told::default();
        let mut tells = |plan: Option<Suspension>, now| told.turn(plan.as_ref(), at(now)).0.is_some();
        assert!(tells(Some(plan(10, SuspensionReason::Expired)), 0));
        assert!(!tells(Some(plan(20, SuspensionReason::Expired)), 0));
        assert!(tells(Some(plan(20, SuspensionReason::Expired)), 15));
        assert!(tells(Some(plan(19, SuspensionReason::Idle)), 15));
        assert!(!tells(None, 16));
        assert!(tells(Some(plan(20, SuspensionReason::Idle)), 16), "another warning");
    }

    fn told(access: Access, reason: SuspensionReason, message: &str, advice: Option<&str>) -> String {
        let called = if access == Access::Owner { "dev" } else { "dev.alice" };
        let audience = Audience { owner: "alice".to_owned(), called: called.to_owned(), access };
        let (message, advice) = (message.to_owned(), advice.map(str::to_owned));
        let plan = Suspension { message, advice, ..plan(0, reason) };
        audience.text(&plan, Duration::from_secs(299))
    }

    #[test]
    fn its_owner_reads_when_why_and_what_to_do_from_where_she_is() {
        let advice = Some("type something, or `devctl snooze dev`");
        let said = told(Access::Owner, SuspensionReason::Idle, "nobody", advice);
        assert_eq!(
            said,
            "your DevServer `dev` will be suspended in 5 min: nobody; type something, or on your laptop `ssh \
             alice@BASTION devctl snooze dev`"
        );
        let said = told(Access::Owner, SuspensionReason::Expired, "its time; a login resumes it", None);
        assert_eq!(said, "your DevServer `dev` will be suspended in 5 min: its time; a login resumes it");
        let audience = Audience { owner: "alice".to_owned(), called: "dev".to_owned(), access: Access::Owner };
        assert!(audience.text(&plan(0, SuspensionReason::Idle), Duration::from_secs(7)).contains(" in 7 s: "));
    }

    /// What they read as hers they did to their own.
    #[test]
    fn others_read_of_whom_it_is_and_no_command_of_its_owners() {
        let idle = |access| told(access, SuspensionReason::Idle, "nobody", Some("type, or `devctl snooze dev`"));
        let will = "`dev.alice` will be suspended in 5 min: ";
        assert_eq!(idle(Access::Guest), format!("{will}nobody; type something, or its owner can put that off"));
        assert_eq!(
            idle(Access::Viewer),
            format!("{will}nobody; its owner can put that off"),
            "what a viewer types reaches nothing"
        );
        let expired = |access, advice| told(access, SuspensionReason::Expired, "its time; a login", advice);
        for access in [Access::Guest, Access::Viewer] {
            let said = expired(access, Some("`devctl extend dev --time 4h` gives it more"));
            assert_eq!(said, format!("{will}its time; a login; its owner can put that off"));
            assert_eq!(expired(access, None), format!("{will}its time; a login"));
        }
    }
}
