//! How a verb ends, and what a person reads when it did not do what she asked.

use std::fmt;

use kube::core::Status;

use crate::plain::plain;
use crate::telemetry::chain;

/// The exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    /// The words were not understood.
    Usage = 2,
    NotFound = 3,
    /// By the cluster's rules.
    Refused = 4,
    /// It was not ready in time.
    Unfinished = 5,
    Interrupted = 130,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Why a verb did not do what was asked, in words: what is wrong, and what to do.
#[derive(Debug)]
pub struct Error {
    pub exit: Exit,
    pub text: String,
    /// What came of asking the cluster, where it did not even answer; not for those who cannot do anything about it.
    cause: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", super::NAME, self.text)
    }
}

impl Error {
    pub(super) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), cause: None }
    }

    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, text)
    }

    pub(super) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    /// Ctrl-C, which is how that ends: nothing is to be told.
    pub(super) fn stopped() -> Self {
        Self::new(Exit::Interrupted, "")
    }

    /// What the API server, or the way there, had against it.
    pub(super) fn of_api(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status),
            error => Self {
                cause: Some(plain(&chain(&error))),
                ..Self::failed("the cluster does not answer; try again in a minute")
            },
        }
    }

    /// For whoever asks the cluster by herself, at `server`: there is nobody else to look at the cause.
    pub(super) fn seen_from(self, server: Option<&str>) -> Self {
        match (&self.cause, server) {
            (Some(cause), Some(server)) => Self { text: format!("failed to ask {}: {cause}", plain(server)), ..self },
            _ => self,
        }
    }

    pub(super) fn conflict() -> Self {
        Self::failed("it was changed by somebody else at the same time; run the command again")
    }

    fn of_status(status: &Status) -> Self {
        let message = plain(&status.message);
        match status.code {
            403 if message.contains("exceeded quota") => {
                Self::new(Exit::Refused, format!("that is more than your quota allows: {}", quota(&message)))
            }
            403 => Self::new(Exit::Refused, refusal(&message)),
            401 => Self::failed(format!(
                "the cluster does not know who asks ({message}): the credentials may have expired; `kubectl auth whoami` tells \
                 whom a kubeconfig stands for"
            )),
            404 if is_of_no_object(status) => Self::failed(format!(
                "the cluster knows nothing of the kind ({message}); `kubectl apply -k k8s/crds` makes DevServers known"
            )),
            404 if let Some(namespace) = missing_namespace(status) => Self::not_found(format!(
                "there is no namespace {namespace}; each user has one: `devctl users list` shows which there are"
            )),
            404 => Self::not_found(format!("{message}; `devctl list` shows what there is")),
            409 if status.reason == "AlreadyExists" => {
                Self::failed(format!("{message}; `devctl list` shows what there is"))
            }
            409 => Self::conflict(),
            400 | 422 => Self::new(Exit::Refused, invalid(status)),
            429 | 500.. => {
                Self::failed(format!("the cluster does not answer as it should ({message}); try again in a minute"))
            }
            code => Self::failed(format!("{message} ({code})")),
        }
    }
}

/// Whether it is not an object that is missing, but its whole kind.
fn is_of_no_object(status: &Status) -> bool {
    status.details.as_ref().is_none_or(|details| details.name.is_empty() && details.kind.is_empty())
}

/// Where an object was to be made, if that is what is missing.
fn missing_namespace(status: &Status) -> Option<String> {
    status.details.as_ref().filter(|details| details.kind == "namespaces").map(|details| plain(&details.name))
}

/// What the rules of the API have against an object, field by field, each with the option that sets it.
fn invalid(status: &Status) -> String {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    if causes.is_empty() {
        return format!("the cluster refuses that: {}", plain(&status.message));
    }
    let mut lines: Vec<String> = Vec::new();
    for cause in causes {
        // `Invalid value: "string": a name has …`; the type or value is of no use to whoever typed it.
        let message = plain(&cause.message);
        let message = match message.split_once(": ") {
            Some((head, rest)) if head.starts_with("Invalid value") => {
                rest.split_once(": ").map_or(rest, |(value, rule)| if value.starts_with('"') { rule } else { rest })
            }
            _ => &message,
        };
        let line = match option(&cause.field) {
            Some(option) => format!("{option}: {message}"),
            None if ["", "<nil>", "spec"].contains(&cause.field.as_str()) => message.to_owned(),
            None => format!("{}: {message}", cause.field),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("; ")
}

/// The option of `create` and `update` that sets a field.
fn option(field: &str) -> Option<&'static str> {
    const OPTIONS: &[(&str, &str)] = &[
        ("metadata.name", "NAME"),
        ("spec.flavor", "--flavor"),
        ("spec.image", "--image"),
        ("spec.home.size", "--home-size"),
        ("spec.home.storageClass", "--home-class"),
        ("spec.home.existingClaim", "--home-claim"),
        ("spec.home.mountPath", "--home-path"),
        ("spec.home", "the home"),
        ("spec.shm", "--shm-size"),
        ("spec.user", "--user"),
        ("spec.startupScript", "--startup-script"),
        ("spec.env", "--env"),
        ("spec.volumes", "--volume"),
        ("spec.command", "--command"),
        ("spec.lifecycle.timeToLive", "--time"),
        ("spec.lifecycle.idle.after", "--idle-after"),
        ("spec.publicKeys", "--key"),
        ("spec.logins", "--login"),
    ];
    let is_in =
        |outer: &str| field.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    OPTIONS.iter().find(|(outer, _)| is_in(outer)).map(|(_, option)| *option)
}

/// `… exceeded quota: dev-user, requested: pods=1, used: pods=20, limited: pods=20`, from `requested` on.
fn quota(message: &str) -> String {
    let numbers = message.find("requested:").map_or(message, |at| &message[at..]);
    format!("{numbers}; delete or suspend another DevServer, or ask your administrator")
}

/// `… User "system:serviceaccount:dev-alice:alice" cannot list resource "devserverusers" in API group …`.
fn refusal(message: &str) -> String {
    let act = message.split_once(" cannot ").map(|(_, act)| act);
    let words = act.and_then(|act| {
        let (verb, rest) = act.split_once(" resource \"")?;
        let (resource, _) = rest.split_once('"')?;
        Some((verb.to_owned(), resource.to_owned()))
    });
    match words {
        Some((verb, resource)) if resource.starts_with("devserverusers") => format!(
            "you may not {verb} {resource}: that is for administrators, whom ClusterRole bastion-admin is bound to"
        ),
        Some((verb, resource)) => {
            format!("the cluster does not let you {verb} {resource}; ask your administrator for that right")
        }
        None => format!("the cluster refuses that: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(status: serde_json::Value) -> Error {
        let status: Status = serde_json::from_value(status).unwrap();
        Error::of_api(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_rule_of_the_schema_names_the_option() {
        let error = of(
            json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": "DevServer \"x\" is invalid",
            "details": {"causes": [
                {"reason": "FieldValueInvalid", "field": "spec.home.size", "message": "Invalid value: \"string\": a size is a positive quantity such as 10Gi"},
                {"reason": "FieldValueInvalid", "field": "spec.env[0].name", "message": "Invalid value: \"HOME\": it is the session's own"},
            ]}}),
        );
        assert_eq!(error.exit, Exit::Refused);
        assert_eq!(
            error.text,
            "--home-size: a size is a positive quantity such as 10Gi; --env: it is the session's own"
        );
    }

    #[test]
    fn whoever_asks_by_herself_is_told_the_cause() {
        let refused = || std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = || Error::of_api(kube::Error::Service(Box::new(refused())));
        assert!(error().text.contains("try again in a minute") && !error().text.contains("refused"));
        let seen = error().seen_from(Some("https://cluster:6443")).text;
        assert!(seen.contains("https://cluster:6443") && seen.contains("connection refused"), "{seen}");
        assert_eq!(Error::failed("x").seen_from(Some("https://cluster")).text, "x");
    }

    #[test]
    fn a_kind_that_is_missing_is_no_object_that_is() {
        let none = of(json!({"status": "Failure", "code": 404, "message": "404 page not found", "reason": ""}));
        assert!(none.exit == Exit::Failed && none.text.contains("k8s/crds"), "{none}");
        let one = of(json!({"status": "Failure", "code": 404, "reason": "NotFound", "message": "pods \"x\" not found",
            "details": {"name": "x", "kind": "pods"}}));
        assert_eq!(one.exit, Exit::NotFound);
        let nowhere = of(json!({"status": "Failure", "code": 404, "reason": "NotFound", "details": {"name": "dev-zoe",
            "kind": "namespaces"}, "message": "namespaces \"dev-zoe\" not found"}));
        assert!(nowhere.exit == Exit::NotFound && nowhere.text.contains("no namespace dev-zoe"), "{nowhere}");
        let stranger =
            of(json!({"status": "Failure", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}));
        assert!(stranger.exit == Exit::Failed && stranger.text.contains("kubectl auth whoami"), "{stranger}");
    }

    #[test]
    fn a_missing_right_is_named() {
        let message = "devserverusers.devserver.io is forbidden: User \"system:serviceaccount:dev-a:a\" cannot list resource \
                       \"devserverusers\" in API group \"devserver.io\" at the cluster scope";
        let error = of(json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": message}));
        assert_eq!(error.exit, Exit::Refused);
        assert!(error.text.starts_with("you may not list devserverusers"), "{}", error.text);
        assert!(error.text.contains("bastion-admin"));
    }

    #[test]
    fn a_quota_is_told_in_numbers() {
        let message = "devservers \"x\" is forbidden: exceeded quota: dev-user, requested: count/d=1, used: count/d=2, limited: count/d=2";
        let error = of(json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": message}));
        assert!(error.text.contains("quota allows: requested: count/d=1, used: count/d=2"), "{}", error.text);
    }
}
