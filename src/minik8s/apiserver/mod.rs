//! The API server: HTTP requests to reads and writes of the store, and exec to the kubelet.

mod access;
mod admission;
mod audit;
mod delete;
mod discovery;
mod evict;
mod exec;
mod metrics;
mod pod_security;
mod quota;
mod rbac;
mod read;
mod resources;
mod route;
mod selector;
mod serve;
mod status;
mod table;
mod write;

pub(super) use admission::{CLAIM_PROTECTION, VOLUME_PROTECTION};
pub(super) use audit::AuditLog;
pub(super) use delete::{Options as DeleteOptions, delete_object};
pub(super) use metrics::Requests;
pub(super) use resources::{CRDS, Resource, all as all_resources, built_in_named};
pub(super) use serve::serve;
pub(super) use status::Refusal;
pub(super) use write::put;

use super::{
    kubelet::{Kubelet, LogWanted},
    object,
    store::Store,
};
use axum::{
    Json,
    body::{Body, to_bytes},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use http::{Request, StatusCode, header};
use route::{Query, Route, Verb};
use selector::Selector;
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc, time::Duration};
use table::Table;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// As much as Kubernetes takes.
const LARGEST_BODY: usize = 3 << 20;

pub(super) struct ApiServer {
    pub(super) store: Arc<Store>,
    pub(super) kubelet: Arc<Kubelet>,
    pub(super) audit: AuditLog,
    pub(super) requests: Requests,
    pub(super) token: String,
    pub(super) exec_idle_timeout: Duration,
    pub(super) shutdown: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl ApiServer {
    async fn handle(&self, request: Request<Body>) -> Response {
        self.answer(request).await.unwrap_or_else(Refusal::into_response)
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response, Refusal> {
        let uri = request.uri().clone();
        let path = access::authenticate(uri.path(), request.headers(), &self.token)?;
        if ["/livez", "/readyz", "/healthz"].contains(&path) {
            return Ok("ok".into_response());
        }
        if path == "/metrics" {
            return Ok(self.requests.text().into_response());
        }
        if let Some(answer) = self.store.view(|objects| discovery::answer(path, objects)) {
            return answer.map(|answer| Json(answer).into_response());
        }
        let query = Query::of(&uri)?;
        let route = self.store.view(|objects| Route::of(request.method(), path, &query, objects))?;
        let user = access::impersonated(request.headers()).map(str::to_owned);
        let agent = request.headers().get(header::USER_AGENT).cloned();
        let media_type = request.headers().get(header::CONTENT_TYPE);
        let is_apply = media_type.is_some_and(|media| media.as_bytes().starts_with(b"application/apply-patch"));
        let allowed = match &user {
            Some(user) => self.store.view(|objects| access::authorize(user, &route, objects)),
            None => Ok(()),
        };
        let response = match allowed {
            Ok(()) => self.perform(&route, &query, request).await,
            Err(refusal) => Err(refusal),
        };
        let response = response.unwrap_or_else(Refusal::into_response);
        let agent = agent.as_ref().and_then(|agent| agent.to_str().ok());
        self.audit.record(&route, user.as_deref(), agent, response.status());
        self.requests.count(&route, is_apply, response.status());
        Ok(response)
    }

    async fn perform(&self, route: &Route, query: &Query, request: Request<Body>) -> Result<Response, Refusal> {
        match route.subresource.as_str() {
            "exec" => return exec::exec(self, route, query, request),
            "log" => return self.log(route, query),
            _ => {}
        }
        if !query.get("dryRun").is_empty() {
            return Err(Refusal::bad_request("the embedded cluster has no dry run"));
        }
        let (head, body) = request.into_parts();
        let header = |name| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        let by = match query.get("fieldManager") {
            "" => header(header::USER_AGENT).split('/').next().unwrap_or_default(),
            manager => manager,
        };
        let media_type = header(header::CONTENT_TYPE);
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let body = to_bytes(body, LARGEST_BODY).await.map_err(|error| {
            let too_large = StatusCode::PAYLOAD_TOO_LARGE;
            Refusal::new(too_large, "RequestEntityTooLarge", error.to_string())
        })?;
        let store = &*self.store;
        let table = Table::wanted(&head.headers, query.get("includeObject"), &route.resource);
        let written = match route.verb {
            Verb::Get => match (read::get(store, route)?, table) {
                (object, Some(table)) => {
                    let table = table.of(object::revision(&object), std::iter::once(&*object));
                    return Ok(Json(table).into_response());
                }
                (object, None) => (StatusCode::OK, object),
            },
            Verb::List => return Ok(Json(read::list(store, route, query, table)?).into_response()),
            Verb::Watch => {
                let shutdown = self.shutdown.clone();
                let body = read::watch(self.store.clone(), route, query, table, shutdown)?;
                return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
            }
            Verb::Create if route.resource.is_review() => return review(media_type, &body),
            Verb::Create if route.subresource == "eviction" => {
                let evicted = evict::evict(store, route, &parse(media_type, &body)?, query)?;
                return Ok((StatusCode::CREATED, Json(evicted)).into_response());
            }
            Verb::Create => write::create(store, route, parse(media_type, &body)?, by)?,
            Verb::Update => write::update(store, route, parse(media_type, &body)?, by)?,
            Verb::Patch => write::patch(store, route, media_type, &body, query, by)?,
            Verb::Delete => {
                let options = DeleteOptions::of(&body, query)?;
                let left = delete::delete(store, route, &options)?;
                return Ok(Json(left).into_response());
            }
            Verb::DeleteCollection => {
                let options = DeleteOptions::of(&body, query)?;
                let selector = Selector::of(query, &route.resource)?;
                let deleted = delete::delete_collection(store, route, &selector, &options)?;
                let list = read::list_of(route, store.revision(), deleted.iter());
                return Ok(Json(list).into_response());
            }
        };
        let (code, object) = written;
        Ok((code, Json(&*object)).into_response())
    }

    fn log(&self, route: &Route, query: &Query) -> Result<Response, Refusal> {
        let pod = self.store.get(&route.key()).ok_or_else(|| Refusal::not_found(&route.resource, &route.name))?;
        let container = container_of(&pod, query.get("container"))?;
        let wanted = LogWanted {
            previous: query.flag("previous"),
            tail: query.number("tailLines").and_then(|lines| usize::try_from(lines).ok()),
            follow: query.flag("follow"),
        };
        let pieces = self.kubelet.log(object::uid(&pod), &container, wanted).ok_or_else(|| {
            let name = &route.name;
            Refusal::bad_request(format!("previous terminated container \"{container}\" in pod \"{name}\" not found"))
        })?;
        let pieces = pieces.take_until(self.shutdown.clone().cancelled_owned()).map(Ok::<_, Infallible>);
        Ok(([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(pieces)).into_response())
    }
}

/// The container of that name, or the only one.
fn container_of(pod: &Value, name: &str) -> Result<String, Refusal> {
    let containers = object::list(&pod["spec"]["containers"]);
    let names: Vec<&str> = containers.iter().map(object::name_field).collect();
    match (names.as_slice(), name) {
        (names, name) if names.contains(&name) => Ok(name.to_owned()),
        ([only], "") => Ok((*only).to_owned()),
        (names, "") => Err(Refusal::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            object::name(pod),
            names.join(" ")
        ))),
        _ => Err(Refusal::bad_request(format!("container {name} is not valid for pod {}", object::name(pod)))),
    }
}

fn parse(media_type: &str, body: &[u8]) -> Result<Value, Refusal> {
    if !["application/json", ""].contains(&media_type) {
        return Err(Refusal::unsupported_media_type(media_type));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Whoever holds the token may do everything.
fn review(media_type: &str, body: &[u8]) -> Result<Response, Refusal> {
    let mut review = parse(media_type, body)?;
    object::map(&mut review)
        .insert("status".to_owned(), json!({"allowed": true, "reason": "the embedded cluster allows everything"}));
    Ok((StatusCode::CREATED, Json(review)).into_response())
}
