//! What the server says about itself: versions, groups and their kinds, and as little OpenAPI as kubectl needs.

use super::{
    resources::{self, Resource, group_version},
    status::Refusal,
};
use crate::minik8s::{patch::Schema, store::Objects};
use serde_json::{Value, json};

/// The answer to a path that is about the server and not about objects; none if it is not one.
pub(super) fn answer(path: &str, objects: &Objects) -> Option<Result<Value, Refusal>> {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Some(Ok(match segments.as_slice() {
        ["version"] => json!({
            "major": "1",
            "minor": "33",
            "gitVersion": concat!("v1.33.0+minik8s-", env!("CARGO_PKG_VERSION")),
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        }),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"]}),
        ["apis"] => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups(objects).iter().map(|group| describe(group, objects)).collect::<Vec<_>>(),
        }),
        ["apis", group] => match groups(objects).iter().any(|known| known == group) {
            true => {
                let mut answer = describe(group, objects);
                answer["kind"] = json!("APIGroup");
                answer["apiVersion"] = json!("v1");
                answer
            }
            false => return Some(Err(Refusal::unknown_path())),
        },
        ["api", version] => return Some(kinds("", version, objects)),
        ["apis", group, version] => return Some(kinds(group, version, objects)),
        ["openapi", "v3"] => openapi_index(objects),
        ["openapi", "v3", "api", version] => openapi("", version, objects),
        ["openapi", "v3", "apis", group, version] => openapi(group, version, objects),
        _ => return None,
    }))
}

fn groups(objects: &Objects) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for resource in resources::all(objects) {
        if !resource.group.is_empty() && !groups.contains(&resource.group) {
            groups.push(resource.group);
        }
    }
    groups
}

fn describe(group: &str, objects: &Objects) -> Value {
    let mut versions: Vec<Value> = Vec::new();
    for resource in resources::all(objects) {
        let version = json!({"groupVersion": resource.api_version(), "version": resource.version});
        if resource.group == group && !versions.contains(&version) {
            versions.push(version);
        }
    }
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn kinds(group: &str, version: &str, objects: &Objects) -> Result<Value, Refusal> {
    let found = of_version(group, version, objects);
    if found.is_empty() {
        return Err(Refusal::unknown_path());
    }
    let kinds: Vec<Value> = found.iter().flat_map(kind).collect();
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": kinds,
    }))
}

fn of_version(group: &str, version: &str, objects: &Objects) -> Vec<Resource> {
    let all = resources::all(objects).into_iter();
    all.filter(|resource| resource.group == group && resource.version == version).collect()
}

fn kind(resource: &Resource) -> Vec<Value> {
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let verbs: &[&str] = if resource.is_review() { &["create"] } else { &all };
    let mut kinds = vec![json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs,
        "shortNames": resource.short_names,
        "categories": resource.categories,
    })];
    let mut subresource = |name: &str, verbs: &[&str]| {
        kinds.push(json!({
            "name": format!("{}/{name}", resource.plural),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs,
        }));
    };
    if resource.has_status {
        subresource("status", &["get", "patch", "update"]);
    }
    if resource.storage() == "pods" {
        subresource("eviction", &["create"]);
        subresource("exec", &["create", "get"]);
        subresource("log", &["get"]);
    }
    kinds
}

fn openapi_index(objects: &Objects) -> Value {
    let mut paths = json!({});
    for resource in resources::all(objects) {
        let prefix = if resource.group.is_empty() { "api" } else { "apis" };
        let path = format!("{prefix}/{}", resource.api_version());
        paths[&path] = json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
    }
    json!({"paths": paths})
}

/// That every kind can be patched with `fieldValidation`, so that kubectl leaves validation to the server. Schemas, for
/// `kubectl explain`, are those of custom kinds alone.
fn openapi(group: &str, version: &str, objects: &Objects) -> Value {
    let (mut paths, mut schemas) = (json!({}), json!({}));
    for resource in of_version(group, version, objects) {
        let prefix = if group.is_empty() { "api" } else { "apis" };
        let scope = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
        let path = format!("/{prefix}/{}/{scope}{}/{{name}}", resource.api_version(), resource.plural);
        let which = json!({"group": group, "version": version, "kind": resource.kind});
        paths[&path] = json!({"patch": {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": which,
        }});
        if let Schema::Custom(schema) = resource.schema() {
            let mut schema = schema.clone();
            schema["x-kubernetes-group-version-kind"] = json!([which]);
            schemas[format!("{group}.{version}.{}", resource.kind)] = schema;
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "minik8s", "version": "v1.33.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}
