//! What `kubectl get` shows: rows of cells instead of objects, for clients that ask for a `Table`.

use super::resources::Resource;
use crate::minik8s::object;
use http::{HeaderMap, header::ACCEPT};
use serde_json::{Value, json};

pub(super) struct Table {
    columns: Vec<Column>,
    /// Rows hold their objects whole, for clients that sort by them.
    whole: bool,
}

struct Column {
    name: String,
    /// As in a CRD: `date` is shown as an age.
    kind: String,
    priority: i64,
    cell: Cell,
}

enum Cell {
    Path(String),
    Of(fn(&Value) -> Value),
}

impl Table {
    /// The resource's table, if the client takes one.
    pub(super) fn wanted(headers: &HeaderMap, include: &str, resource: &Resource) -> Option<Table> {
        let accept = headers.get(ACCEPT)?.to_str().ok()?;
        accept.contains("as=Table").then(|| Table { columns: columns(resource), whole: include == "Object" })
    }

    pub(super) fn of<'a>(&self, revision: &str, objects: impl Iterator<Item = &'a Value>) -> Value {
        let definition = |column: &Column| {
            json!({
                "name": column.name,
                "type": if column.kind == "date" { "string" } else { column.kind.as_str() },
                "format": if column.name == "Name" { "name" } else { "" },
                "description": "",
                "priority": column.priority,
            })
        };
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": revision},
            "columnDefinitions": self.columns.iter().map(definition).collect::<Vec<_>>(),
            "rows": objects.map(|object| self.row(object)).collect::<Vec<_>>(),
        })
    }

    fn row(&self, object: &Value) -> Value {
        let cells: Vec<Value> = self.columns.iter().map(|column| column.cell(object)).collect();
        let object = match self.whole {
            true => object.clone(),
            false => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            }),
        };
        json!({"cells": cells, "object": object})
    }
}

impl Column {
    fn cell(&self, object: &Value) -> Value {
        let value = match &self.cell {
            Cell::Of(cell) => return cell(object),
            Cell::Path(path) => at(object, path),
        };
        match value {
            Value::Object(_) | Value::Array(_) => json!(value.to_string()),
            Value::String(time) if self.kind == "date" => json!(age(time)),
            value => value.clone(),
        }
    }
}

fn columns(resource: &Resource) -> Vec<Column> {
    let path = |name: &str, path: &str| Column {
        name: name.to_owned(),
        kind: "string".to_owned(),
        priority: 0,
        cell: Cell::Path(path.to_owned()),
    };
    let of = |name: &str, cell: fn(&Value) -> Value| Column { cell: Cell::Of(cell), ..path(name, "") };
    let mut columns = vec![path("Name", ".metadata.name")];
    let age = Column { kind: "date".to_owned(), ..path("Age", ".metadata.creationTimestamp") };
    match resource.storage().as_str() {
        "pods" => columns.extend([of("Ready", ready), of("Status", pod_status), of("Restarts", restarts)]),
        "namespaces" => columns.push(path("Status", ".status.phase")),
        "persistentvolumes" => columns.extend([
            path("Capacity", ".spec.capacity.storage"),
            path("Reclaim Policy", ".spec.persistentVolumeReclaimPolicy"),
            path("Status", ".status.phase"),
            path("Claim", ".spec.claimRef.name"),
        ]),
        "persistentvolumeclaims" => columns.extend([
            path("Status", ".status.phase"),
            path("Volume", ".spec.volumeName"),
            path("Capacity", ".status.capacity.storage"),
        ]),
        "leases.coordination.k8s.io" => columns.push(path("Holder", ".spec.holderIdentity")),
        _ if !resource.columns.is_empty() => {
            columns.extend(resource.columns.iter().map(|column| Column {
                kind: object::text(&column["type"]).to_owned(),
                priority: column["priority"].as_i64().unwrap_or(0),
                ..path(object::name_field(column), object::text(&column["jsonPath"]))
            }));
            // A CRD that names its columns names its age too if it wants one.
            return columns;
        }
        _ => {}
    }
    columns.push(age);
    columns
}

fn containers(pod: &Value) -> &[Value] {
    object::list(&pod["status"]["containerStatuses"])
}

fn ready(pod: &Value) -> Value {
    let ready = containers(pod).iter().filter(|status| status["ready"] == true);
    json!(format!("{}/{}", ready.count(), object::list(&pod["spec"]["containers"]).len()))
}

fn pod_status(pod: &Value) -> Value {
    let reason = |status: &Value| {
        let state = &status["state"];
        let reason = ["waiting", "terminated"].map(|kind| object::text(&state[kind]["reason"]));
        reason.into_iter().find(|reason| !reason.is_empty()).map(str::to_owned)
    };
    let phase = || object::text(&pod["status"]["phase"]).to_owned();
    json!(match object::is_terminating(pod) {
        true => "Terminating".to_owned(),
        false => containers(pod).iter().find_map(reason).unwrap_or_else(phase),
    })
}

fn restarts(pod: &Value) -> Value {
    let restarts = containers(pod).iter().map(|status| status["restartCount"].as_u64().unwrap_or(0));
    json!(restarts.sum::<u64>().to_string())
}

/// As much of JSONPath as printer columns use: `.a.b`, `['a.b']` and `[?(@.type=="Ready")]`.
fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    let mut value = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(bracket) = rest.strip_prefix('[') {
            let Some((inside, after)) = bracket.split_once(']') else {
                return &Value::Null;
            };
            value = match inside.strip_prefix("?(@.").and_then(|test| test.strip_suffix(')')) {
                Some(test) => {
                    let (field, wanted) = test.split_once("==").unwrap_or((test, ""));
                    let wanted = wanted.trim().trim_matches(['"', '\'']);
                    let mut items = object::list(value).iter();
                    items.find(|item| item[field.trim()] == wanted).unwrap_or(&Value::Null)
                }
                None => &value[inside.trim_matches(['"', '\''])],
            };
            rest = after;
        } else {
            let name = rest.trim_start_matches('.');
            let end = name.find(['.', '[']).unwrap_or(name.len());
            value = &value[&name[..end]];
            rest = &name[end..];
        }
    }
    value
}

fn age(time: &str) -> String {
    let Ok(time) = time.parse::<jiff::Timestamp>() else {
        return "<invalid>".to_owned();
    };
    let seconds = jiff::Timestamp::now().duration_since(time).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{minutes}m{}s", seconds % 60),
        600..10800 => format!("{minutes}m"),
        10800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_through_fields_and_conditions() {
        let object = json!({"metadata": {"labels": {"a.io/b": "x"}}, "status": {"conditions": [
            {"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"},
        ]}});
        assert_eq!(at(&object, ".status.conditions[?(@.type==\"Ready\")].status"), "True");
        assert_eq!(at(&object, ".metadata.labels['a.io/b']"), "x");
        assert_eq!(at(&object, ".no.such[?(@.a==\"b\")].field"), &Value::Null);
    }
}
