//! Refusals, in the words and the `Status` objects of Kubernetes.

use super::resources::Resource;
use crate::minik8s::{patch::Conflict, store};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

/// What a client gets instead of what it asked for.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: StatusCode,
    reason: &'static str,
    pub(crate) message: String,
    details: Value,
}

impl Refusal {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Refusal { code, reason, message: message.into(), details: json!({}) }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(super) fn unauthorized() -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(super) fn unknown_path() -> Refusal {
        let message = "the server could not find the requested resource";
        Refusal::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn method_not_allowed() -> Refusal {
        let message = "the server does not allow this method on the requested resource";
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(super) fn unsupported_media_type(got: &str) -> Refusal {
        let message = format!(
            "the body of the request was in an unsupported format: {got}; JSON is served (`kubectl apply -f` sends it)"
        );
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Refusal {
        let message = format!("{} \"{name}\" not found", resource.storage());
        Refusal::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Refusal {
        let message = format!("{} \"{name}\" already exists", resource.storage());
        Refusal::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Refusal {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.storage());
        Refusal::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    pub(super) fn forbidden(resource: &Resource, name: &str, why: &str) -> Refusal {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.storage());
        Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message).about(resource, name)
    }

    pub(super) fn invalid(resource: &Resource, name: &str, field: &str, why: &str) -> Refusal {
        let message = format!("{} \"{name}\" is invalid: {field}: {why}", resource.kind);
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
            .about(resource, name)
            .caused(json!([{"reason": "FieldValueInvalid", "message": why, "field": field}]))
    }

    pub(super) fn expired() -> Refusal {
        let message = "too old resource version: the changes since then are no longer known";
        Refusal::new(StatusCode::GONE, "Expired", message)
    }

    pub(super) fn apply_conflicts(resource: &Resource, name: &str, all: &[Conflict]) -> Refusal {
        let lines: Vec<String> =
            all.iter().map(|conflict| format!("conflict with \"{}\": {}", conflict.manager, conflict.field)).collect();
        let message = format!(
            "Apply failed with {} conflict{}: {}",
            all.len(),
            if all.len() == 1 { "" } else { "s" },
            lines.join("\n")
        );
        let causes = all.iter().map(|conflict| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with \"{}\"", conflict.manager),
                "field": conflict.field,
            })
        });
        Refusal::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name).caused(causes.collect())
    }

    pub(super) fn status(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code.as_u16(),
        })
    }

    fn about(mut self, resource: &Resource, name: &str) -> Refusal {
        self.details = json!({"name": name, "group": resource.group, "kind": resource.plural});
        self
    }

    fn caused(mut self, causes: Value) -> Refusal {
        self.details["causes"] = causes;
        self
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        tracing::error!(error = &error as &dyn std::error::Error, "an object could not be stored");
        Refusal::internal(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.code, Json(self.status())).into_response()
    }
}
