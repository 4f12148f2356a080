//! What happened to a DevServer while nobody looked, for the next login: told once.

use std::sync::Arc;

use dashmap::DashMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::api::{DevServer, DevServerStatus, conditions, names, write_status};
use crate::telemetry::chain;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// A person: what she was told of is noted in the DevServer's status, for all replicas.
    Terminal,
    /// Perhaps nobody: a program may start commands. Each replica tells one of them.
    Command,
}

/// What this replica told of, by namespace, DevServer and reader.
#[derive(Clone, Default)]
pub(super) struct News(Arc<DashMap<(String, String, Reader), Timestamp>>);

impl News {
    /// What of `status` is news to `reader` of DevServer `name`; from now on it is not.
    pub(super) fn take(&self, namespace: &str, name: &str, status: &DevServerStatus, reader: Reader) -> Option<Told> {
        let mut events = events(name, status);
        let newest = events.iter().map(|(at, _)| *at).max()?;
        let mut entry = self.0.entry((namespace.to_owned(), name.to_owned(), reader)).or_default();
        let told = status.told_time.as_ref().map_or(*entry, |told| told.0.max(*entry));
        *entry = newest.max(*entry);
        events.retain(|(at, _)| *at > told);
        if events.is_empty() {
            return None;
        }
        Some(Told { texts: events.into_iter().map(|(_, text)| text).collect(), time: Time(*entry) })
    }
}

/// What happened, and when.
fn events(name: &str, status: &DevServerStatus) -> Vec<(Timestamp, String)> {
    let end = status.last_end.as_ref().map(|end| {
        let at = end.time.0.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string();
        (end.time.0, format!("your DevServer `{name}` ended at {at} and was started again: {}", end.message))
    });
    let script =
        conditions::find(&status.conditions, conditions::STARTUP_SCRIPT).filter(|script| script.status == "False");
    let script = script.map(|script| (script.last_transition_time.0, script.message.clone()));
    end.into_iter().chain(script).collect()
}

/// A piece of news that somebody gets to read.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub(super) texts: Vec<String>,
    time: Time,
}

impl Told {
    /// Notes in the DevServer's status that it was read. Nobody waits for it: at worst it is told twice.
    pub(super) fn note(&self, client: &kube::Client, namespace: &str, name: &str, tasks: &TaskTracker) {
        let servers: Api<DevServer> = Api::namespaced(client.clone(), namespace);
        let status = serde_json::json!({ "toldTime": self.time });
        let name = name.to_owned();
        tasks.spawn(async move {
            if let Err(error) = write_status(&servers, names::NEWS_FIELD_MANAGER, &name, &status).await {
                debug!(error = chain(&error), devserver = name, "failed to note what a login was told");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::LastEnd;

    fn status(end: i64, told: Option<i64>) -> DevServerStatus {
        let time = |second| Time(Timestamp::from_second(second).unwrap());
        DevServerStatus {
            last_end: Some(LastEnd {
                time: time(end),
                reason: "OutOfMemory".to_owned(),
                message: "it ran out of memory".to_owned(),
            }),
            told_time: told.map(time),
            ..DevServerStatus::default()
        }
    }

    fn take(news: &News, status: &DevServerStatus, reader: Reader) -> Option<String> {
        news.take("dev-alice", "dev", status, reader).map(|told| told.texts.join("\n"))
    }

    #[test]
    fn each_end_is_told_once() {
        let news = News::default();
        let told = "your DevServer `dev` ended at 1970-01-01 00:01 UTC and was started again: it ran out of memory";
        assert_eq!(take(&news, &status(60, None), Reader::Command).as_deref(), Some(told));
        assert_eq!(take(&news, &status(60, None), Reader::Command), None);
        assert_eq!(take(&news, &status(60, None), Reader::Terminal).as_deref(), Some(told), "a person has not read it");
        assert_eq!(take(&news, &status(60, None), Reader::Terminal), None);
        assert!(take(&news, &status(70, Some(60)), Reader::Terminal).is_some(), "another one");
    }

    #[test]
    fn a_script_that_failed_is_told_with_the_rest() {
        let news = News::default();
        let mut status = status(60, None);
        let at = Time(Timestamp::from_second(61).unwrap());
        let failed = conditions::condition(conditions::STARTUP_SCRIPT, false, "Failed", "it failed", None, at.clone());
        status.conditions.push(failed);
        let told = news.take("dev-alice", "dev", &status, Reader::Terminal).unwrap();
        assert_eq!((told.texts.len(), told.texts[1].as_str(), &told.time), (2, "it failed", &at));
        assert_eq!(take(&news, &status, Reader::Terminal), None);
    }

    #[test]
    fn what_another_replica_told_is_no_news() {
        assert_eq!(take(&News::default(), &status(60, Some(60)), Reader::Terminal), None);
        assert_eq!(take(&News::default(), &DevServerStatus::default(), Reader::Terminal), None);
    }
}
