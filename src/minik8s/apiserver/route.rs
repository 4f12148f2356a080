//! From a request's method, path and query to what is wanted of which object.

use super::{
    resources::{self, Resource},
    status::Refusal,
};
use crate::minik8s::store::{Key, Objects};
use http::Method;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) verb: Verb,
    pub(super) resource: Resource,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) subresource: String,
}

impl Route {
    pub(super) fn of(method: &Method, path: &str, query: &Query, objects: &Objects) -> Result<Route, Refusal> {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Refusal::unknown_path()),
        };
        // `namespaces/NAME/status` is about the namespace, `namespaces/NAME/pods` about what is in it.
        let (namespace, rest) = match rest {
            ["namespaces", _, "status" | "finalize", ..] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", String::new()),
            [plural, name] => (*plural, *name, String::new()),
            [plural, name, subresource @ ..] => (*plural, *name, subresource.join("/")),
            [] => return Err(Refusal::unknown_path()),
        };
        let resource = resources::find(objects, group, version, plural).ok_or_else(Refusal::unknown_path)?;
        let verb = verb(method, name, query).ok_or_else(Refusal::method_not_allowed)?;
        if resource.namespaced && namespace.is_empty() && matches!(verb, Verb::Create | Verb::DeleteCollection) {
            return Err(Refusal::method_not_allowed());
        }
        if !resource.namespaced && !namespace.is_empty()
            || resource.namespaced && namespace.is_empty() && !name.is_empty()
        {
            return Err(Refusal::unknown_path());
        }
        let served = match subresource.as_str() {
            "" => true,
            "status" => resource.has_status,
            "exec" | "log" | "eviction" => resource.storage() == "pods",
            "finalize" => resource.storage() == "namespaces",
            _ => false,
        };
        if !served {
            return Err(Refusal::unknown_path());
        }
        Ok(Route { verb, resource, namespace: namespace.to_owned(), name: name.to_owned(), subresource })
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.resource.storage(), &self.namespace, &self.name)
    }
}

fn verb(method: &Method, name: &str, query: &Query) -> Option<Verb> {
    Some(match (method, name.is_empty()) {
        (&Method::GET, true) if query.flag("watch") => Verb::Watch,
        (&Method::GET, true) => Verb::List,
        (&Method::GET, false) => Verb::Get,
        // With a name it is a subresource's: exec.
        (&Method::POST, _) => Verb::Create,
        (&Method::PUT, false) => Verb::Update,
        (&Method::PATCH, false) => Verb::Patch,
        (&Method::DELETE, false) => Verb::Delete,
        (&Method::DELETE, true) => Verb::DeleteCollection,
        _ => return None,
    })
}

impl Verb {
    /// As RBAC and the audit log call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }
}

/// The query's pairs in order; `command` may stand there often.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &http::Uri) -> Result<Query, Refusal> {
        axum::extract::Query::try_from_uri(uri)
            .map(|axum::extract::Query(pairs)| Query(pairs))
            .map_err(|error| Refusal::bad_request(error.to_string()))
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name).parse().ok()
    }
}
