//! Roles within a namespace: what their bindings let accounts of other namespaces do there.

use super::route::Route;
use crate::minik8s::store::{Key, Objects};
use serde_json::Value;

const BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
const ROLES: &str = "roles.rbac.authorization.k8s.io";

/// Whether a Role of the route's namespace is bound to the account and allows what is asked for.
pub(super) fn allows(account: (&str, &str), route: &Route, objects: &Objects) -> bool {
    if route.namespace.is_empty() {
        return false;
    }
    let is_bound = |binding: &Value| {
        let (namespace, name) = account;
        let subjects = binding["subjects"].as_array().into_iter().flatten();
        subjects.into_iter().any(|subject| {
            subject["kind"] == "ServiceAccount" && subject["namespace"] == namespace && subject["name"] == name
        })
    };
    let role = |binding: &Value| {
        let name = binding["roleRef"]["name"].as_str().filter(|_| binding["roleRef"]["kind"] == "Role")?;
        objects.get(&Key::new(ROLES, &route.namespace, name)).cloned()
    };
    let bindings = objects.list(BINDINGS, &route.namespace).filter(|binding| is_bound(binding));
    bindings.filter_map(|binding| role(binding)).any(|role| {
        let rules = role["rules"].as_array();
        rules.is_some_and(|rules| rules.iter().any(|rule| covers(rule, route)))
    })
}

fn covers(rule: &Value, route: &Route) -> bool {
    let resource = match route.subresource.as_str() {
        "" => route.resource.plural.clone(),
        subresource => format!("{}/{subresource}", route.resource.plural),
    };
    let has = |list: &str, wanted: &str| {
        let list = rule[list].as_array();
        list.is_some_and(|list| list.iter().any(|one| one == wanted || one == "*"))
    };
    let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
    has("apiGroups", &route.resource.group)
        && has("resources", &resource)
        && has("verbs", route.verb.name())
        && names.is_none_or(|names| names.iter().any(|name| *name == route.name))
}
