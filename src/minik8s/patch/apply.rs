//! Server-side apply: each field manager owns the fields it applied, and only those.

use super::fields::{Element, Fields, elements};
use super::lists::{ListKind, Schema};
use crate::minik8s::object;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Who writes, and through which door.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) subresource: String,
}

/// A field that another manager owns with another value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) manager: String,
    pub(crate) field: String,
}

/// What `live` becomes when `manager` applies `wanted`: its fields set, those it no longer names removed unless another
/// manager has them too. `live` is null for an object that does not exist yet.
pub(crate) fn apply(
    live: &Value,
    wanted: &Value,
    manager: &Manager,
    force: bool,
    schema: Schema<'_>,
) -> Result<Value, Vec<Conflict>> {
    let applied = Fields::of(&owned_part(wanted), schema, "");
    let mut managers = Managers::of(live).granular(live, schema);
    let own = managers.take(manager, "Apply");

    let merged = merge(live, wanted, schema, "");
    let changing = applied.intersection(&Fields::changed(live, &merged, schema, ""));
    let conflicts = managers.conflicts(&changing);
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    managers.give_up(&changing);

    let given_up =
        own.as_ref().map(|entry| entry.fields.difference(&applied)).unwrap_or_default().difference(&managers.all());
    let mut after = remove(&merged, &given_up, schema, "").unwrap_or_else(|| json!({}));

    let unchanged = own.as_ref().is_some_and(|own| own.fields == applied && own.version == wanted["apiVersion"]);
    let time = match &own {
        Some(own) if unchanged && without_managers(&after) == without_managers(live) => own.time.clone(),
        _ => object::now(),
    };
    managers.0.push(Entry {
        manager: manager.clone(),
        operation: "Apply".to_owned(),
        version: wanted["apiVersion"].clone(),
        time,
        fields: applied,
    });
    managers.write(&mut after, schema);
    Ok(after)
}

/// Notes that `manager` made `after` of `before` by an update or a patch.
pub(crate) fn track_update(before: &Value, after: &mut Value, manager: &Manager, schema: Schema<'_>) {
    let mut managers = Managers::of(before);
    let changed = Fields::changed(&owned_part(before), &owned_part(after), schema, "");
    if !changed.is_empty() {
        managers.give_up(&changed);
        let own = managers.take(manager, "Update");
        managers.0.push(Entry {
            manager: manager.clone(),
            operation: "Update".to_owned(),
            version: after["apiVersion"].clone(),
            time: object::now(),
            fields: own.map(|own| own.fields).unwrap_or_default().union(&changed),
        });
    }
    managers.write(after, schema);
}

/// `wanted` laid over `live`; lists of items merge under their keys, everything else is replaced.
fn merge(live: &Value, wanted: &Value, schema: Schema<'_>, name: &str) -> Value {
    let Some(new) = elements(wanted, schema, name) else {
        return match (live, wanted) {
            (Value::Object(_), Value::Object(map)) if map.is_empty() => live.clone(),
            (Value::Array(_), Value::Array(items)) if items.is_empty() => match schema.list_kind(name) {
                ListKind::Atomic => wanted.clone(),
                ListKind::Set | ListKind::Map(_) => live.clone(),
            },
            _ => wanted.clone(),
        };
    };
    let mut merged = match (live, wanted) {
        (Value::Object(_), Value::Object(_)) => live.clone(),
        (_, Value::Object(_)) => json!({}),
        (Value::Array(_), _) => live.clone(),
        _ => json!([]),
    };
    for Element { path, value, schema: inner, name: field } in new {
        match &mut merged {
            Value::Object(map) => {
                let old = map.get(&field).unwrap_or(&Value::Null);
                let value = merge(old, value, inner, &field);
                map.insert(field, value);
            }
            Value::Array(items) => {
                let place = position(items, schema, name, &path);
                match place {
                    Some(place) => items[place] = merge(&items[place], value, inner, &field),
                    None => items.push(merge(&Value::Null, value, inner, &field)),
                }
            }
            _ => {}
        }
    }
    if let (Value::Array(items), Value::Array(wanted)) = (&mut merged, wanted) {
        *items = in_order(std::mem::take(items), wanted, schema, name);
    }
    merged
}

/// The items in the order in which they are `wanted`; those that are not stay before the next one that is.
fn in_order(items: Vec<Value>, wanted: &[Value], schema: Schema<'_>, name: &str) -> Vec<Value> {
    let paths = |items: &[Value]| -> Vec<String> {
        let items = Value::Array(items.to_vec());
        elements(&items, schema, name).into_iter().flatten().map(|element| element.path).collect()
    };
    let (there, wanted) = (paths(&items), paths(wanted));
    if there.len() != items.len() {
        return items;
    }
    let mut rest: VecDeque<(String, Value)> = there.into_iter().zip(items).collect();
    let mut ordered = Vec::with_capacity(rest.len());
    for path in &wanted {
        while rest.front().is_some_and(|item| !wanted.contains(&item.0)) {
            ordered.extend(rest.pop_front().map(|(_, item)| item));
        }
        if let Some(place) = rest.iter().position(|item| item.0 == *path) {
            ordered.extend(rest.remove(place).map(|(_, item)| item));
        }
    }
    ordered.extend(rest.into_iter().map(|(_, item)| item));
    ordered
}

/// The value without the fields of the set; none if nothing is left of it.
fn remove(value: &Value, fields: &Fields, schema: Schema<'_>, name: &str) -> Option<Value> {
    if fields.is_empty() {
        return Some(value.clone());
    }
    let Some(elements) = elements(value, schema, name) else {
        return (!fields.is_member()).then(|| value.clone());
    };
    let kept = elements.into_iter().filter_map(|element| {
        let Element { path, value, schema, name } = element;
        let kept = match fields.child(&path) {
            Some(fields) => remove(value, fields, schema, &name)?,
            None => value.clone(),
        };
        Some((path, name, kept))
    });
    match value {
        Value::Array(_) => {
            let items: Vec<Value> = kept
                // An item given up goes when only its keys are left.
                .filter(|(path, _, item)| {
                    let given_up = fields.child(path).is_some_and(Fields::is_member);
                    !(given_up && only_keys(path, item))
                })
                .map(|(_, _, item)| item)
                .collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        _ => {
            let map: serde_json::Map<String, Value> = kept.map(|(_, name, value)| (name, value)).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
    }
}

fn only_keys(path: &str, item: &Value) -> bool {
    match path.strip_prefix("k:") {
        Some(keys) => serde_json::from_str::<Value>(keys).is_ok_and(|keys| keys == *item),
        None => true,
    }
}

fn position(items: &[Value], schema: Schema<'_>, name: &str, path: &str) -> Option<usize> {
    let items = Value::Array(items.to_vec());
    elements(&items, schema, name)?.iter().position(|element| element.path == path)
}

/// What can be owned: not the object's identity, nor what the API server itself writes.
fn owned_part(value: &Value) -> Value {
    let mut part = value.clone();
    if let Some(map) = part.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
    }
    if let Some(metadata) = part["metadata"].as_object_mut() {
        metadata
            .retain(|field, _| matches!(field.as_str(), "labels" | "annotations" | "finalizers" | "ownerReferences"));
        if metadata.is_empty() {
            object::map(&mut part).remove("metadata");
        }
    } else {
        object::map(&mut part).remove("metadata");
    }
    part
}

fn without_managers(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    value
}

struct Entry {
    manager: Manager,
    operation: String,
    version: Value,
    time: Value,
    fields: Fields,
}

struct Managers(Vec<Entry>);

impl Managers {
    fn of(live: &Value) -> Managers {
        let entries = object::list(&live["metadata"]["managedFields"]).iter();
        Managers(
            entries
                .map(|entry| Entry {
                    manager: Manager {
                        name: object::text(&entry["manager"]).to_owned(),
                        subresource: object::text(&entry["subresource"]).to_owned(),
                    },
                    operation: object::text(&entry["operation"]).to_owned(),
                    version: entry["apiVersion"].clone(),
                    time: entry["time"].clone(),
                    fields: Fields::from_json(&entry["fieldsV1"]),
                })
                .collect(),
        )
    }

    fn granular(mut self, live: &Value, schema: Schema<'_>) -> Managers {
        for entry in &mut self.0 {
            entry.fields = entry.fields.granular(live, schema, "");
        }
        self
    }

    fn take(&mut self, manager: &Manager, operation: &str) -> Option<Entry> {
        let place = self.0.iter().position(|entry| {
            entry.operation == operation
                && entry.manager.name == manager.name
                && entry.manager.subresource == manager.subresource
        })?;
        Some(self.0.remove(place))
    }

    fn conflicts(&self, changing: &Fields) -> Vec<Conflict> {
        self.0
            .iter()
            .flat_map(|entry| {
                let fields = entry.fields.intersection(changing).paths();
                fields.into_iter().map(|field| Conflict { manager: entry.manager.name.clone(), field })
            })
            .collect()
    }

    fn give_up(&mut self, fields: &Fields) {
        for entry in &mut self.0 {
            entry.fields = entry.fields.difference(fields);
        }
    }

    fn all(&self) -> Fields {
        self.0.iter().fold(Fields::default(), |all, entry| all.union(&entry.fields))
    }

    fn write(self, object: &mut Value, schema: Schema<'_>) {
        let part = owned_part(object);
        let mut entries: Vec<Value> = Vec::new();
        for entry in self.0 {
            let fields = entry.fields.within(&part, schema, "");
            if fields.is_empty() {
                continue;
            }
            let mut json = json!({
                "manager": entry.manager.name,
                "operation": entry.operation,
                "apiVersion": entry.version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields.to_json(),
            });
            if !entry.manager.subresource.is_empty() {
                json["subresource"] = json!(entry.manager.subresource);
            }
            entries.push(json);
        }
        // One order, or an apply that changes nothing would seem to reorder them.
        entries.sort_by_key(|entry| {
            ["manager", "operation", "subresource"].map(|key| object::text(&entry[key]).to_owned())
        });
        match entries.is_empty() {
            true => drop(object::metadata(object).remove("managedFields")),
            false => object["metadata"]["managedFields"] = json!(entries),
        }
    }
}
