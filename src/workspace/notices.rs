//! What users are told of a suspension that is planned, in each session of that DevServer.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

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

/// The texts to show in a session of `user`'s DevServer `name`, each when it is time.
pub(super) fn texts(plan: watch::Receiver<Plan>, user: &str, name: &str) -> BoxStream<'static, String> {
    let (user, name) = (user.to_owned(), name.to_owned());
    let turn = move |(mut plan, mut told): (watch::Receiver<Plan>, Told)| {
        let (user, name) = (user.clone(), name.clone());
        async move {
            loop {
                let current = plan.borrow_and_update().clone();
                let (left, next) = told.turn(current.as_ref(), Timestamp::now());
                if let (Some(left), Some(current)) = (left, &current) {
                    return Some((text(current, left, &user, &name), (plan, told)));
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

fn text(plan: &Suspension, left: Duration, user: &str, name: &str) -> String {
    let left = match left.as_secs() {
        seconds @ ..90 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    };
    let message = &plan.message;
    format!("your DevServer `{name}` is suspended in {left}: {message} (or `ssh {user}@THIS-SERVER devctl …`)")
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
        Suspension { time: Time(at(minutes)), reason, message: "why".to_owned() }
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

    #[test]
    fn the_text_says_when_why_and_what_to_do() {
        let plan = plan(0, SuspensionReason::Idle);
        let said = text(&plan, Duration::from_secs(299), "alice", "dev");
        assert_eq!(said, "your DevServer `dev` is suspended in 5 min: why (or `ssh alice@THIS-SERVER devctl …`)");
        assert!(text(&plan, Duration::from_secs(7), "alice", "dev").contains(" in 7 s: "));
    }
}
