//! Why the API server would not have a pod or a claim, in words for its owner.

use kube::core::Status;

use crate::api::conditions::reason;

/// A refusal: not a failure to ask, but a "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: RefusalKind,
    /// A sentence.
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalKind {
    /// Too early: something that was just made is not known everywhere. A moment helps.
    TooEarly,
    /// The quota is used up. Something else has to go.
    Quota,
    /// Another object has the name.
    NameTaken,
    /// The object itself is not acceptable. Its owner has to change something.
    Rejected,
}

impl RefusalKind {
    /// The condition's reason.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::TooEarly => "NotReadyYet",
            Self::Quota => reason::QUOTA_EXCEEDED,
            Self::NameTaken => "NameTaken",
            Self::Rejected => "Rejected",
        }
    }
}

/// Reads the API server's answer about a `what`; `None` if it is no refusal but trouble.
pub(super) fn read(status: &Status, what: &str) -> Option<Refusal> {
    if !matches!(status.code, 400 | 403 | 404 | 422) {
        return None;
    }
    // `pods "dev" is forbidden: exceeded quota: …` and `Pod "dev" is invalid: spec…`: the owner knows the name.
    let said = ["is forbidden: ", "is invalid: "]
        .iter()
        .find_map(|verdict| status.message.split_once(verdict))
        .map_or(status.message.as_str(), |(_, reason)| reason);
    let too_early = ["status unknown for quota", "error looking up service account", "because it is being terminated"];
    let (kind, message) = if let Some((_, rest)) = said.split_once("exceeded quota: ") {
        (RefusalKind::Quota, quota(rest))
    } else if too_early.iter().any(|early| said.contains(early)) || status.is_not_found() {
        (RefusalKind::TooEarly, format!("the cluster is not ready for the {what}: {said}"))
    } else {
        (RefusalKind::Rejected, format!("the cluster refuses the {what}: {said}"))
    };
    Some(Refusal { kind, message })
}

/// `dev-user, requested: pods=1, used: pods=20, limited: pods=20` for people.
fn quota(said: &str) -> String {
    let parts = || {
        let (name, rest) = said.split_once(", requested: ")?;
        let (requested, rest) = rest.split_once(", used: ")?;
        let (used, limited) = rest.split_once(", limited: ")?;
        Some(format!(
            "the quota {name} is used up: asked for {}, in use {}, allowed {}",
            spaced(requested),
            spaced(used),
            spaced(limited)
        ))
    };
    parts().unwrap_or_else(|| format!("a quota is used up: {said}"))
}

/// `pods=1,requests.cpu=4` → `pods 1, requests.cpu 4`.
fn spaced(amounts: &str) -> String {
    amounts.replace(',', ", ").replace('=', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, message: &str) -> Option<Refusal> {
        read(&Status::failure(message, "Forbidden").with_code(code), "pod")
    }

    #[test]
    fn refusals_are_told_in_words() {
        let cases = [
            (
                403,
                r#"pods "dev" is forbidden: exceeded quota: dev-user, requested: pods=1,requests.cpu=4, used: pods=20,requests.cpu=62, limited: pods=20,requests.cpu=64"#,
                RefusalKind::Quota,
                "the quota dev-user is used up: asked for pods 1, requests.cpu 4, in use pods 20, requests.cpu 62, allowed pods 20, requests.cpu 64",
            ),
            (
                403,
                r#"pods "dev" is forbidden: status unknown for quota: dev-user, resources: pods"#,
                RefusalKind::TooEarly,
                "the cluster is not ready for the pod: status unknown for quota: dev-user, resources: pods",
            ),
            (
                403,
                r#"pods "dev" is forbidden: error looking up service account dev-a/a: serviceaccount "a" not found"#,
                RefusalKind::TooEarly,
                r#"the cluster is not ready for the pod: error looking up service account dev-a/a: serviceaccount "a" not found"#,
            ),
            (
                422,
                r#"Pod "dev" is invalid: spec.containers[0].image: Required value"#,
                RefusalKind::Rejected,
                "the cluster refuses the pod: spec.containers[0].image: Required value",
            ),
        ];
        for (code, said, kind, message) in cases {
            assert_eq!(refusal(code, said), Some(Refusal { kind, message: message.to_owned() }));
        }
    }

    #[test]
    fn trouble_is_no_refusal() {
        for code in [401, 409, 429, 500, 503] {
            assert_eq!(refusal(code, "etcdserver: request timed out"), None, "{code}");
        }
    }
}
