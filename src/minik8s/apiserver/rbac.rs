//! What is bound to a service account by roles (RBAC).

use super::route::Route;
use crate::minik8s::{
    object,
    store::{Key, Objects},
};
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether a role that is bound to the account, or to a group that it is in, allows what is wanted.
pub(super) fn allows(account: (&str, &str), route: &Route, objects: &Objects) -> bool {
    let mut places = vec![("clusterrolebindings", "")];
    if !route.namespace.is_empty() {
        places.push(("rolebindings", route.namespace.as_str()));
    }
    places.into_iter().any(|(resource, namespace)| {
        let resource = format!("{resource}.{GROUP}");
        let mut bound = objects
            .list(&resource, namespace)
            .filter(|binding| object::list(&binding["subjects"]).iter().any(|subject| means(subject, account)));
        bound.any(|binding| role(&binding["roleRef"], namespace, objects).is_some_and(|role| grants(role, route)))
    })
}

fn means(subject: &Value, (namespace, name): (&str, &str)) -> bool {
    let subject_name = object::name_field(subject);
    match object::text(&subject["kind"]) {
        "ServiceAccount" => subject_name == name && object::text(&subject["namespace"]) == namespace,
        "User" => subject_name == format!("system:serviceaccount:{namespace}:{name}"),
        "Group" => {
            let own = format!("system:serviceaccounts:{namespace}");
            ["system:serviceaccounts", "system:authenticated", own.as_str()].contains(&subject_name)
        }
        _ => false,
    }
}

fn role<'a>(reference: &Value, namespace: &str, objects: &'a Objects) -> Option<&'a Value> {
    let (resource, namespace) = match object::text(&reference["kind"]) {
        "ClusterRole" => ("clusterroles", ""),
        _ => ("roles", namespace),
    };
    objects.get(&Key::new(&format!("{resource}.{GROUP}"), namespace, object::name_field(reference))).map(|role| &**role)
}

fn grants(role: &Value, route: &Route) -> bool {
    let resource = match route.subresource.as_str() {
        "" => route.resource.plural.clone(),
        subresource => format!("{}/{subresource}", route.resource.plural),
    };
    object::list(&role["rules"]).iter().any(|rule| {
        let has = |field: &str, wanted: &str| object::list(&rule[field]).iter().any(|is| is == wanted || is == "*");
        let names = object::list(&rule["resourceNames"]);
        has("apiGroups", &route.resource.group)
            && has("resources", &resource)
            && has("verbs", route.verb.name())
            && (names.is_empty() || names.iter().any(|name| *name == route.name))
    })
}
