//! `--watch`: the objects there are, and then each as it changes, until Ctrl-C.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::ready;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::output::{self, Format, Table};
use super::{Caller, Error, Exit};
use crate::watch::Guard;

/// Follows what `api` has.
pub(super) struct Changes<K> {
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    seen: Seen<K>,
    /// It does not answer any more, and that was said.
    away: bool,
}

impl<K> Changes<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    pub(super) fn of(api: Api<Guard<K>>) -> Self {
        let events = watch(api, watcher::Config::default()).default_backoff();
        let events = events.filter_map(|event| ready(event.map(readable).transpose())).boxed();
        Self { events, seen: Seen::default(), away: false }
    }

    /// What there is, and after that what has changed. Cancel safe: nothing is taken before the last await.
    pub(super) async fn next(&mut self, caller: &Caller) -> Result<Vec<K>, Error> {
        loop {
            let event = tokio::select! {
                biased;
                () = caller.streams.interrupted.cancelled() => return Err(Error::stopped()),
                event = self.events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    self.away &= !matches!(event, Event::InitDone);
                    if let Some(changed) = self.seen.take(event, caller.now()) {
                        return Ok(changed);
                    }
                }
                Some(Err(watcher::Error::WatchFailed(_) | watcher::Error::WatchStartFailed(_))) => {}
                Some(Err(watcher::Error::InitialListFailed(error))) => {
                    let error = Error::of_api(error);
                    if !self.seen.listed || error.exit == Exit::Refused {
                        return Err(error);
                    }
                    if !std::mem::replace(&mut self.away, true) {
                        caller.say("the cluster does not answer; trying again").await;
                    }
                }
                Some(Err(error)) => {
                    return Err(Error::failed(format!("the cluster does not tell what changes: {error}")));
                }
                None => return Err(Error::failed("the cluster does not tell what changes any more")),
            }
        }
    }
}

/// One that cannot be read has nothing to show; the list told of it.
fn readable<K>(event: Event<Guard<K>>) -> Option<Event<K>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(Guard(object)) => Event::InitApply(object.ok()?),
        Event::Apply(Guard(object)) => Event::Apply(object.ok()?),
        Event::Delete(Guard(object)) => Event::Delete(object.ok()?),
    })
}

/// What was told of.
struct Seen<K> {
    objects: BTreeMap<String, K>,
    /// What a list has had so far, while there is one.
    listing: BTreeMap<String, K>,
    /// There was a whole one.
    listed: bool,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: BTreeMap::new(), listed: false }
    }
}

impl<K: Resource<DynamicType = ()> + Clone> Seen<K> {
    /// What is to be told now; none while a list is not whole, or tells nothing new.
    fn take(&mut self, event: Event<K>, now: Timestamp) -> Option<Vec<K>> {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => drop(self.listing.insert(object.name_any(), object)),
            Event::InitDone => return self.list(now),
            Event::Apply(object) => {
                self.objects.insert(object.name_any(), object.clone());
                return Some(vec![object]);
            }
            Event::Delete(object) => {
                self.objects.remove(&object.name_any());
                return Some(vec![gone(object, now)]);
            }
        }
        None
    }

    /// A list that is whole: all of the first, of the others what changed while nobody told.
    fn list(&mut self, now: Timestamp) -> Option<Vec<K>> {
        let before = std::mem::replace(&mut self.objects, std::mem::take(&mut self.listing));
        let is_new = |object: &&K| {
            let old = before.get(&object.name_any());
            old.is_none_or(|old| old.resource_version() != object.resource_version())
        };
        let mut changed: Vec<K> = self.objects.values().filter(is_new).cloned().collect();
        let lost = before.into_iter().filter(|(name, _)| !self.objects.contains_key(name));
        changed.extend(lost.map(|(_, object)| gone(object, now)));
        let first = !std::mem::replace(&mut self.listed, true);
        Some(changed).filter(|changed| first || !changed.is_empty())
    }
}

/// The last that was seen of one: it need not have said that it is being deleted.
fn gone<K: Resource>(mut object: K, now: Timestamp) -> K {
    object.meta_mut().deletion_timestamp.get_or_insert(Time(now));
    object
}

/// Rows that come one after another under one header; for programs, one object after another.
pub(super) struct Rows {
    format: Format,
    /// A column is at least as wide, where there is room, and gets wider for what is longer still: what comes later may
    /// be longer than what there was.
    least: &'static [usize],
    /// Of the columns with all that there was so far.
    widths: Vec<usize>,
}

impl Rows {
    pub(super) fn new(format: Format, least: &'static [usize]) -> Self {
        Self { format, least, widths: Vec::new() }
    }

    /// Prints what changed.
    pub(super) async fn print<T: Serialize>(
        &mut self,
        caller: &Caller,
        changed: &[T],
        name: impl Fn(&T) -> String,
        table: Table,
    ) -> Result<(), Error> {
        if !self.format.is_table() {
            // Nothing else tells where a document of YAML begins.
            let begin = if self.format == Format::Yaml { "---\n" } else { "" };
            for one in changed {
                let text = output::one(self.format, one, &name(one))?.unwrap_or_default();
                caller.print(&format!("{begin}{text}")).await;
            }
            return Ok(());
        }
        let begins = self.widths.is_empty();
        let widths = self.widths_for(&table, caller.columns());
        let text = table.render_rows(&widths, begins, caller.streams.colour);
        if !text.is_empty() {
            caller.print(&text).await;
        }
        Ok(())
    }

    fn widths_for(&mut self, table: &Table, columns: Option<u16>) -> Vec<usize> {
        let now = table.widths();
        self.widths.resize(now.len(), 0);
        for (at, width) in self.widths.iter_mut().enumerate() {
            *width = (*width).max(now[at]).max(self.least.get(at).copied().unwrap_or_default());
        }
        output::narrowed(self.widths.clone(), columns)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: &str) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": name, "resourceVersion": version}})).unwrap()
    }

    /// What is told at the end: names, with a minus for those that are gone.
    fn told(seen: &mut Seen<ConfigMap>, events: Vec<Event<ConfigMap>>) -> Option<Vec<String>> {
        let mut told = None;
        for event in events {
            told = seen.take(event, Timestamp::UNIX_EPOCH);
        }
        let name = |object: &ConfigMap| {
            let mark = if object.metadata.deletion_timestamp.is_some() { "-" } else { "" };
            format!("{mark}{}", object.name_any())
        };
        told.map(|objects| objects.iter().map(name).collect())
    }

    fn list(objects: &[(&str, &str)]) -> Vec<Event<ConfigMap>> {
        let objects = objects.iter().map(|(name, version)| Event::InitApply(object(name, version)));
        std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).collect()
    }

    #[test]
    fn what_comes_later_is_whole_where_there_is_room() {
        let row = |cells: &[&str]| {
            let mut table = Table::new(&["NAME", "IMAGE", "STATUS"]);
            if !cells.is_empty() {
                table.row(cells.iter().map(|cell| (*cell).into()).collect());
            }
            table
        };
        let mut rows = Rows::new(Format::Table, &[6, 5, 9]);
        assert_eq!(rows.widths_for(&row(&[]), Some(40)), [6, 5, 9]);
        assert_eq!(rows.widths_for(&row(&["train-large", "a:1", "Suspended"]), Some(40)), [11, 5, 9]);
        let long = row(&["train-large", "registry.example.org/image", "Starting"]);
        assert_eq!(rows.widths_for(&long, Some(40)), [11, 14, 9]);
        assert_eq!(rows.widths_for(&long, None), [11, 26, 9]);
    }

    #[test]
    fn one_that_is_deleted_is_told_as_going() {
        let mut seen = Seen::default();
        assert_eq!(told(&mut seen, list(&[("b", "1"), ("a", "1")])).unwrap(), ["a", "b"]);
        assert_eq!(told(&mut seen, vec![Event::Apply(object("b", "2"))]).unwrap(), ["b"]);
        assert_eq!(told(&mut seen, vec![Event::Delete(object("b", "3"))]).unwrap(), ["-b"]);
    }

    #[test]
    fn a_new_list_tells_what_changed_meanwhile() {
        let mut seen = Seen::default();
        assert_eq!(told(&mut seen, list(&[])).unwrap().len(), 0, "that there is none is told once");
        told(&mut seen, list(&[("a", "1"), ("b", "1"), ("c", "1")]));
        assert_eq!(told(&mut seen, list(&[("a", "1"), ("c", "2"), ("d", "1")])).unwrap(), ["c", "d", "-b"]);
        assert_eq!(told(&mut seen, list(&[("a", "1"), ("c", "2"), ("d", "1")])), None);
    }
}
