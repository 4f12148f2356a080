//! Tells the cluster how a pod is used, as its agent measures it: in the status of its DevServer, where whoever decides
//! about unused ones looks for it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::memory::size;
use super::notices::Plan;
use super::{Config, Error, Workspace, agent};
use crate::agent::request;
use crate::agent::usage::Gpu;
use crate::api::{Activity, DevServer, GpuUse, SuspensionReason, names, write_status};
use crate::cache::Cache;
use crate::carrier::Carrier;
use crate::telemetry::chain;

/// How it is told.
#[derive(Clone)]
pub(super) struct Reports {
    client: kube::Client,
    /// Has what was told last, by whichever replica.
    cache: Cache,
    pace: Pace,
}

#[derive(Clone, Copy)]
struct Pace {
    every: Duration,
    /// How long it may go untold that nothing has changed.
    silence: Duration,
}

/// After the first session of a carrier, whose agent may have begun with it: until then nothing is known.
const FIRST: Duration = Duration::from_secs(5);
/// Where nobody samples what nobody is in.
const SILENCE: Duration = Duration::from_mins(4);

impl Reports {
    pub(super) fn new(client: kube::Client, cache: Cache, config: &Config) -> Self {
        Self::paced(client, cache, config.activity_interval, config.sample_interval)
    }

    pub(super) fn paced(client: kube::Client, cache: Cache, every: Duration, sampled: Duration) -> Self {
        // Before others find that it is long ago and look for themselves.
        let silence = Some(sampled * 4 / 5).filter(|silence| !silence.is_zero()).unwrap_or(SILENCE);
        Self { client, cache, pace: Pace { every, silence: silence.min(SILENCE) } }
    }

    /// Reports every so often, for as long as the carrier lasts, whatever changed since; soon, while the DevServer is
    /// about to be suspended for being idle.
    pub(super) async fn report(self, carrier: Carrier, workspace: Workspace, mut plan: watch::Receiver<Plan>) {
        let mut first = true;
        loop {
            let every = self.pace.every;
            let waited = if first { every.min(FIRST) } else { every };
            first = false;
            let every = wait(waited, &mut plan).await;
            let pace = Pace { every, ..self.pace.facing(&plan.borrow()) };
            let activity = match agent::activity(&carrier).await {
                Ok(activity) => activity,
                Err(error) => {
                    debug!(error = chain(&error), pod = workspace.pod, "the agent tells no activity");
                    // An older one counts nothing. Another is asked again: nobody else looks while this carrier is
                    // there.
                    if carrier.is_closed() || matches!(error, Error::OldAgent) {
                        return;
                    }
                    continue;
                }
            };
            let now = Timestamp::now();
            let activity = as_times(&activity, now);
            let server = self.cache.devserver_in(&workspace.namespace, &workspace.devserver);
            let told = server.as_ref().and_then(|server| server.status.as_ref()?.activity.as_ref());
            if told.is_none_or(|told| pace.is_news(told, &activity, now)) {
                self.write(&workspace, &activity).await;
            }
        }
    }

    /// Asks once, and tells it.
    pub(super) async fn report_once(&self, carrier: &Carrier, workspace: &Workspace) -> Result<(), Error> {
        let activity = agent::activity(carrier).await?;
        self.write(workspace, &as_times(&activity, Timestamp::now())).await;
        Ok(())
    }

    async fn write(&self, workspace: &Workspace, activity: &Activity) {
        let servers: Api<DevServer> = Api::namespaced(self.client.clone(), &workspace.namespace);
        let status = serde_json::json!({ "activity": activity });
        if let Err(error) = write_status(&servers, names::FIELD_MANAGER, &workspace.devserver, &status).await {
            debug!(error = chain(&error), pod = workspace.pod, "failed to report activity");
        }
    }
}

impl Pace {
    /// Nobody is suspended by what was told long ago, so that nothing has changed is told too while it is planned.
    fn facing(self, plan: &Plan) -> Self {
        let silence = if is_for_idleness(plan) { self.silence.min(SOON_SILENCE) } else { self.silence };
        Self { silence, ..self }
    }

    /// Whether `activity` is worth telling after `told`, which may be another replica's.
    fn is_news(&self, told: &Activity, activity: &Activity, now: Timestamp) -> bool {
        let age = told.observed_time.as_ref().map(|time| now.duration_since(time.0));
        // Another machine's clock may be ahead.
        let Some(age) = age.and_then(|age| Duration::try_from(age).ok()) else { return true };
        let soonest = self.every * 9 / 10;
        age >= self.silence || (age >= soonest && !is_same(told, activity))
    }
}

/// Returns what it took for the time that was to be waited.
async fn wait(every: Duration, plan: &mut watch::Receiver<Plan>) -> Duration {
    let began = Instant::now();
    loop {
        let length = if is_for_idleness(&plan.borrow_and_update()) { every.min(SOON) } else { every };
        let end = began + length;
        match timeout_at(end, plan.changed()).await {
            Ok(Ok(())) => {}
            // The plans end with a shutdown only.
            Ok(Err(_)) => {
                tokio::time::sleep_until(end).await;
                return length;
            }
            Err(_) => return length,
        }
    }
}

fn is_for_idleness(plan: &Plan) -> bool {
    plan.as_ref().is_some_and(|plan| plan.reason == SuspensionReason::Idle)
}

/// How long a sign of use may take to be told where it matters, and that there is none.
const SOON: Duration = Duration::from_secs(5);
/// The operator takes what is older than 90 s for no look at all.
const SOON_SILENCE: Duration = Duration::from_mins(1);

pub(super) fn as_times(activity: &request::Activity, now: Timestamp) -> Activity {
    let request::Activity {
        session_seconds,
        input_seconds,
        output_seconds,
        forwarded_seconds,
        cpu_seconds,
        disk_seconds,
        gpu_seconds,
        kernel_seconds,
        peak_memory,
        out_of_memory_seconds,
        gpu,
        programs,
        forwards,
    } = activity;
    let ago = |seconds: &Option<u64>| {
        let ago = SignedDuration::from_secs(i64::try_from((*seconds)?).ok()?);
        now.checked_sub(ago).ok().map(Time)
    };
    let mut told = Activity {
        observed_time: Some(Time(now)),
        last_use_time: None,
        awake: None,
        last_session_time: ago(session_seconds),
        last_input_time: ago(input_seconds),
        last_output_time: ago(output_seconds),
        last_forward_time: ago(forwarded_seconds),
        last_cpu_time: ago(cpu_seconds),
        last_disk_time: ago(disk_seconds),
        last_gpu_time: ago(gpu_seconds),
        last_kernel_time: ago(kernel_seconds),
        peak_memory: peak_memory.map(|bytes| Quantity(size(bytes))),
        last_out_of_memory_time: ago(out_of_memory_seconds),
        gpu: gpu.map(|gpu| match gpu {
            Gpu::None => GpuUse::None,
            Gpu::Busy(_) => GpuUse::Known,
            Gpu::Unknown => GpuUse::Unknown,
        }),
        programs: *programs,
        forwards: *forwards,
    };
    told.summarize();
    told
}

/// Two times that are computed from a count of whole seconds may differ by one.
fn is_same(one: &Activity, other: &Activity) -> bool {
    let near = |(one, other): (Option<Timestamp>, Option<Timestamp>)| match (one, other) {
        (Some(one), Some(other)) => one.duration_since(other).abs() < SignedDuration::from_secs(2),
        (one, other) => one.is_none() && other.is_none(),
    };
    let times = |activity: &Activity| activity.signs().map(|(_, time)| time);
    let ran_out = |activity: &Activity| activity.last_out_of_memory_time.as_ref().map(|time| time.0);
    (one.programs, one.forwards, one.gpu, &one.awake) == (other.programs, other.forwards, other.gpu, &other.awake)
        && near((ran_out(one), ran_out(other)))
        && times(one).into_iter().zip(times(other)).all(near)
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::agent::request::Response;
    use crate::api::Suspension;
    use crate::carrier::linked::while_linked;
    use crate::carrier::{Message, Side};

    /// After one answer that was not understood nothing was told any more, and a pod in use was taken for idle.
    #[tokio::test]
    async fn an_agent_that_once_fails_to_tell_is_asked_again() {
        let away = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no cluster here"))
        });
        let client = kube::Client::new(away, "default");
        let cache = Cache::start(&client, &CancellationToken::new());
        let soon = Duration::from_millis(5);
        let reports = Reports::paced(client, cache, soon, soon);
        let [namespace, devserver, pod] = ["dev-alice", "dev", "dev"].map(str::to_owned);
        let (service_account, on_behalf_of) = (None, None);
        let workspace =
            Workspace { namespace, devserver, pod, pod_uid: None, service_account, on_behalf_of, agent: true };
        let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
        let (agents, mut opened) = Carrier::new(Side::Agent, "one".into());
        let (_plans, plan) = watch::channel(Plan::default());
        let answer = async {
            for _ in 0..3 {
                let (_, stream) = opened.recv().await.expect("it is asked again");
                let _ = stream.sender.send(Message::control(&Response::Started));
            }
        };
        let work = async {
            tokio::select! {
                () = reports.report(carrier.clone(), workspace, plan) => panic!("nothing is told any more"),
                () = answer => {}
            }
        };
        while_linked(&carrier, |_| agents.clone(), work).await;
    }

    #[test]
    fn counts_become_times_and_a_second_is_no_change() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let told = request::Activity {
            input_seconds: Some(100),
            forwarded_seconds: Some(u64::MAX),
            gpu: Some(Gpu::Busy(3)),
            programs: 2,
            ..request::Activity::default()
        };
        let activity = as_times(&told, now);
        assert_eq!(activity.last_input_time.as_ref().unwrap().0.as_second(), 1_799_999_900);
        assert!(activity.last_output_time.is_none() && activity.last_forward_time.is_none());
        assert_eq!((activity.gpu, activity.observed_time.as_ref().unwrap().0), (Some(GpuUse::Known), now));
        let later = as_times(
            &request::Activity { input_seconds: Some(159), ..told.clone() },
            now + SignedDuration::from_secs(60),
        );
        assert!(is_same(&activity, &later));
        let typed = as_times(&request::Activity { input_seconds: Some(3), ..told.clone() }, now);
        let worked = as_times(&request::Activity { cpu_seconds: Some(0), ..told.clone() }, now);
        let more = as_times(&request::Activity { programs: 3, ..told.clone() }, now);
        let blind = as_times(&request::Activity { gpu: Some(Gpu::Unknown), ..told.clone() }, now);
        let grown = as_times(&request::Activity { peak_memory: Some(3 << 29), ..told.clone() }, now);
        assert_eq!(grown.peak_memory, Some(Quantity("1.5Gi".to_owned())));
        let ran_out = as_times(&request::Activity { out_of_memory_seconds: Some(0), ..told }, now);
        assert!(is_same(&activity, &grown), "it goes with what else changes");
        for other in [typed, worked, more, blind, ran_out] {
            assert!(!is_same(&activity, &other), "{other:?}");
        }
    }

    #[test]
    fn what_changed_is_told_once_a_minute_and_what_did_not_before_it_is_old() {
        let pace = Pace { every: Duration::from_mins(1), silence: Duration::from_mins(4) };
        let then = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |seconds: i64, typed: u64| {
            let told = request::Activity { input_seconds: Some(typed), ..request::Activity::default() };
            let now = then + SignedDuration::from_secs(seconds);
            (as_times(&told, now), now)
        };
        let news = |seconds, typed| pace.is_news(&at(0, 1_000).0, &at(seconds, typed).0, at(seconds, typed).1);
        assert!(!news(30, 5) && news(60, 5), "typed");
        assert!(!news(60, 1_060) && !news(239, 1_239) && news(240, 1_240), "nothing new");
        assert!(news(-70, 1_000), "told by somebody whose clock is ahead");

        let plan = |reason| Some(Suspension { time: Time(then), reason, message: String::new(), advice: None });
        let silence = |plan: &Plan| pace.facing(plan).silence;
        assert_eq!(silence(&plan(SuspensionReason::Idle)), Duration::from_mins(1));
        assert_eq!((silence(&plan(SuspensionReason::Expired)), silence(&None)), (pace.silence, pace.silence));
    }

    #[test]
    fn that_nothing_keeps_it_awake_any_more_is_news() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |seconds: u64| {
            let told = request::Activity { input_seconds: Some(seconds), ..request::Activity::default() };
            as_times(&told, now + SignedDuration::from_secs(i64::try_from(seconds).unwrap()))
        };
        assert_eq!(at(80).awake.as_deref(), Some("keystrokes"));
        assert!(is_same(&at(0), &at(80)) && !is_same(&at(80), &at(100)));
    }
}
