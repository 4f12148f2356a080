//! Who asks: one token lets everything through; a service account may be impersonated inside its own namespace, and
//! where its roles let it.

use super::{rbac, route::Route, status::Refusal};
use crate::minik8s::store::{Key, Objects};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};

pub(super) const USER: &str = "bastion-dev";

/// Takes the token from the head of the path (kubectl sends no `Authorization` without TLS, so its kubeconfig names a
/// server URL with the token in it) or from the header, and gives the path behind it.
pub(super) fn authenticate<'a>(path: &'a str, headers: &HeaderMap, token: &str) -> Result<&'a str, Refusal> {
    if let Some(rest) = path.strip_prefix('/')
        && let Some(rest) = strip_token(rest, token)
        && rest.starts_with('/')
    {
        return Ok(rest);
    }
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .and_then(|given| strip_token(given, token))
        .filter(|rest| rest.is_empty())
        .map(|_| path)
        .ok_or_else(Refusal::unauthorized)
}

pub(super) fn impersonated(headers: &HeaderMap) -> Option<&str> {
    headers.get("impersonate-user")?.to_str().ok()
}

/// What an impersonated user may do: everything in the namespace of a service account that exists, and elsewhere what
/// roles are bound to it for. Those hold for one that does not exist as well, as with Kubernetes.
pub(super) fn authorize(user: &str, route: &Route, objects: &Objects) -> Result<(), Refusal> {
    let account = user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    let why = match account {
        None => {
            format!("User \"{USER}\" cannot impersonate user \"{user}\": only service accounts")
        }
        Some((namespace, name)) => {
            let exists = objects.get(&Key::new("serviceaccounts", namespace, name)).is_some();
            let at_home = route.namespace == namespace || route.resource.is_review();
            if (exists && at_home) || rbac::allows((namespace, name), route, objects) {
                return Ok(());
            }
            let scope = match route.namespace.as_str() {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace \"{namespace}\""),
            };
            let what = match route.subresource.as_str() {
                "" => route.resource.plural.clone(),
                subresource => format!("{}/{subresource}", route.resource.plural),
            };
            let reason = if exists { "" } else { ": there is no such service account" };
            format!(
                "User \"{user}\" cannot {} resource \"{what}\" in API group \"{}\" {scope}{reason}",
                route.verb.name(),
                route.resource.group,
            )
        }
    };
    Err(match account {
        None => Refusal::new(StatusCode::FORBIDDEN, "Forbidden", format!("users \"{user}\" is forbidden: {why}")),
        Some(_) => Refusal::forbidden(&route.resource, &route.name, &why),
    })
}

/// Compares in a time that does not tell how much was right.
fn strip_token<'a>(text: &'a str, token: &str) -> Option<&'a str> {
    let (head, rest) = text.as_bytes().split_at_checked(token.len())?;
    let different = head.iter().zip(token.as_bytes()).fold(0, |different, (a, b)| different | (a ^ b));
    (different == 0).then(|| std::str::from_utf8(rest).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_opens_in_the_path_or_in_the_header() {
        let none = HeaderMap::new();
        assert_eq!(authenticate("/secret/api", &none, "secret").unwrap(), "/api");
        for wrong in ["/api", "/secre/api", "/secretapi", "/secret", "/wrongs/api"] {
            assert!(authenticate(wrong, &none, "secret").is_err(), "{wrong}");
        }

        let with = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(authenticate("/api", &with("Bearer secret"), "secret").unwrap(), "/api");
        for wrong in ["Bearer secret2", "Bearer secre", "secret", "Bearer "] {
            assert!(authenticate("/api", &with(wrong), "secret").is_err(), "{wrong}");
        }
    }
}
