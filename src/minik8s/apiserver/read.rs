//! Get, list and watch.

use super::{
    route::{Query, Route},
    selector::Selector,
    status::Refusal,
    table::Table,
};
use crate::minik8s::{
    object,
    store::{Change, Event, Store},
};
use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How often a quiet watch is told how far it has come.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(30);
/// As long as Kubernetes lets a watch live that names no timeout.
const LONGEST_WATCH: Duration = Duration::from_secs(1800);

pub(super) fn get(store: &Store, route: &Route) -> Result<Arc<Value>, Refusal> {
    store.get(&route.key()).ok_or_else(|| Refusal::not_found(&route.resource, &route.name))
}

/// The whole list at once: `limit` is a wish that a server may ignore.
pub(super) fn list(store: &Store, route: &Route, query: &Query, table: Option<Table>) -> Result<Value, Refusal> {
    let selector = Selector::of(query, &route.resource)?;
    let (revision, objects) = store.list(&route.resource.storage(), &route.namespace);
    let matching = objects.iter().filter(|object| selector.matches(object));
    Ok(match table {
        Some(table) => table.of(&revision.to_string(), matching.map(|object| &**object)),
        None => list_of(route, revision, matching),
    })
}

pub(super) fn list_of<'a>(route: &Route, revision: u64, objects: impl Iterator<Item = &'a Arc<Value>>) -> Value {
    json!({
        "apiVersion": route.resource.api_version(),
        "kind": format!("{}List", route.resource.kind),
        "metadata": {"resourceVersion": revision.to_string()},
        "items": objects.map(|object| Value::clone(object)).collect::<Vec<_>>(),
    })
}

/// A body of one event per line.
pub(super) fn watch(
    store: Arc<Store>,
    route: &Route,
    query: &Query,
    table: Option<Table>,
    shutdown: CancellationToken,
) -> Result<Body, Refusal> {
    let selector = Selector::of(query, &route.resource)?;
    let from = query.get("resourceVersion");
    let everything = query.flag("sendInitialEvents") || from.is_empty() || from == "0";
    let watch = Watch {
        selector,
        table,
        storage: route.resource.storage(),
        namespace: route.namespace.clone(),
        name: route.name.clone(),
        bookmarks: query
            .flag("allowWatchBookmarks")
            .then(|| Bookmark { api_version: route.resource.api_version(), kind: route.resource.kind.clone() }),
        ends: Instant::now()
            + query.number("timeoutSeconds").map_or(LONGEST_WATCH, Duration::from_secs).min(LONGEST_WATCH),
    };
    let mut first = Vec::new();
    let start = match everything {
        false => from.parse().map_err(|_| Refusal::bad_request(format!("invalid resource version: {from}")))?,
        true => {
            let (revision, objects) = store.list(&watch.storage, &watch.namespace);
            let matching = objects.iter().filter(|object| watch.selector.matches(object));
            first.extend(matching.map(|object| watch.show("ADDED", object)));
            revision
        }
    };
    if query.flag("sendInitialEvents")
        && let Some(bookmark) = &watch.bookmarks
    {
        first.push(bookmark.line(start, true));
    }
    let lines = stream::iter(first).chain(watch.lines(store, start));
    let lines = lines.take_until(shutdown.cancelled_owned());
    Ok(Body::from_stream(lines.map(Ok::<Bytes, Infallible>)))
}

struct Watch {
    selector: Selector,
    table: Option<Table>,
    storage: String,
    namespace: String,
    name: String,
    bookmarks: Option<Bookmark>,
    ends: Instant,
}

impl Watch {
    fn lines(self, store: Arc<Store>, start: u64) -> impl Stream<Item = Bytes> {
        let bookmark_at = Instant::now() + BOOKMARK_INTERVAL;
        stream::unfold(Some((self, store, start, bookmark_at)), |state| async {
            let (watch, store, after, bookmark_at) = state?;
            let mut cursor = store.follow(after);
            match timeout_at(watch.ends.min(bookmark_at), cursor.next()).await {
                Ok(Ok(events)) => {
                    let lines: Vec<u8> = events.iter().filter_map(|event| watch.line(event)).flatten().collect();
                    let revision = cursor.revision();
                    Some((lines.into(), Some((watch, store, revision, bookmark_at))))
                }
                Ok(Err(_)) => Some((line("ERROR", &Refusal::expired().status()), None)),
                Err(_) => {
                    // Nothing that happened is left unsaid: the cursor had nothing to give.
                    let bookmark = watch.bookmarks.as_ref();
                    let line = bookmark.map_or_else(Bytes::new, |mark| mark.line(after, false));
                    let over = Instant::now() >= watch.ends;
                    let next = Instant::now() + BOOKMARK_INTERVAL;
                    Some((line, (!over).then_some((watch, store, after, next))))
                }
            }
        })
        // An empty chunk would end an HTTP body.
        .filter(|lines| std::future::ready(!lines.is_empty()))
    }

    fn line(&self, event: &Event) -> Option<Bytes> {
        let key = &event.key;
        if key.resource != self.storage
            || !self.namespace.is_empty() && key.namespace != self.namespace
            || !self.name.is_empty() && key.name != self.name
        {
            return None;
        }
        let was = |object: &Arc<Value>| self.selector.matches(object);
        let before = event.before.as_ref().is_some_and(was);
        let after = event.change != Change::Deleted && was(&event.object);
        Some(self.show(
            match (before, after) {
                (false, true) => "ADDED",
                (true, true) => "MODIFIED",
                (true, false) => "DELETED",
                (false, false) => return None,
            },
            &event.object,
        ))
    }

    fn show(&self, kind: &str, object: &Value) -> Bytes {
        match &self.table {
            Some(table) => line(kind, &table.of(object::revision(object), std::iter::once(object))),
            None => line(kind, object),
        }
    }
}

struct Bookmark {
    api_version: String,
    kind: String,
}

impl Bookmark {
    fn line(&self, revision: u64, initial_end: bool) -> Bytes {
        let mut mark = json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"resourceVersion": revision.to_string()},
        });
        if initial_end {
            object::metadata(&mut mark).insert("annotations".to_owned(), json!({"k8s.io/initial-events-end": "true"}));
        }
        line("BOOKMARK", &mark)
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()
}
