//! Sets of fields, as `managedFields` writes them (FieldsV1): who owns which part of an object.

use super::lists::{ListKind, Schema};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A tree of path elements (`f:name`, `k:{"name":"x"}`, `v:"x"`); `member` says that the path itself is in the set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    member: bool,
    children: BTreeMap<String, Fields>,
}

impl Fields {
    /// Every field that `value` sets. An empty map or an atomic list is one field.
    pub(super) fn of(value: &Value, schema: Schema<'_>, name: &str) -> Fields {
        match elements(value, schema, name) {
            None => Fields::leaf(),
            Some(elements) => Fields {
                member: false,
                children: elements
                    .into_iter()
                    .map(|Element { path, value, schema, name }| {
                        let mut fields = Fields::of(value, schema, &name);
                        // An item of a list is owned itself, beside what is in it.
                        fields.member |= path.starts_with("k:");
                        (path, fields)
                    })
                    .collect(),
            },
        }
    }

    /// The fields of `after` that `before` has not, or has with another value.
    pub(super) fn changed(before: &Value, after: &Value, schema: Schema<'_>, name: &str) -> Fields {
        if before == after {
            return Fields::default();
        }
        let (Some(old), Some(new)) = (elements(before, schema, name), elements(after, schema, name)) else {
            return Fields::of(after, schema, name);
        };
        let mut changed = Fields::default();
        for Element { path, value, schema, name } in new {
            let fields = match old.iter().find(|element| element.path == path) {
                Some(element) => Fields::changed(element.value, value, schema, &name),
                None => {
                    let mut fields = Fields::of(value, schema, &name);
                    fields.member |= path.starts_with("k:");
                    fields
                }
            };
            if !fields.is_empty() {
                changed.children.insert(path, fields);
            }
        }
        changed
    }

    /// The same set where a list that was owned as a whole merges item by item by now: then each of its items is owned.
    pub(super) fn granular(&self, value: &Value, schema: Schema<'_>, name: &str) -> Fields {
        let Some(elements) = elements(value, schema, name) else { return self.clone() };
        if value.is_array() && self.member && self.children.is_empty() {
            return Fields::of(value, schema, name);
        }
        let mut granular = self.clone();
        for Element { path, value, schema, name } in elements {
            if let Some(fields) = granular.children.get_mut(&path) {
                *fields = fields.granular(value, schema, &name);
            }
        }
        granular
    }

    pub(super) fn from_json(value: &Value) -> Fields {
        let Some(map) = value.as_object() else {
            return Fields::default();
        };
        Fields {
            member: map.is_empty() || map.contains_key("."),
            children: map
                .iter()
                .filter(|(path, _)| *path != ".")
                .map(|(path, fields)| (path.clone(), Fields::from_json(fields)))
                .collect(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), json!({}));
        }
        for (path, fields) in &self.children {
            map.insert(path.clone(), fields.to_json());
        }
        Value::Object(map)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    pub(super) fn union(&self, other: &Fields) -> Fields {
        let mut union = self.clone();
        union.member |= other.member;
        for (path, fields) in &other.children {
            let own = union.children.entry(path.clone()).or_default();
            *own = own.union(fields);
        }
        union
    }

    pub(super) fn intersection(&self, other: &Fields) -> Fields {
        self.combine(other, |own, others| own && others, |_| Fields::default())
    }

    pub(super) fn difference(&self, other: &Fields) -> Fields {
        self.combine(other, |own, others| own && !others, Fields::clone)
    }

    /// What is left of the set in an object of this shape: fields that are gone are owned by nobody.
    pub(super) fn within(&self, value: &Value, schema: Schema<'_>, name: &str) -> Fields {
        let elements = elements(value, schema, name).unwrap_or_default();
        Fields {
            member: self.member,
            children: elements
                .into_iter()
                .filter_map(|Element { path, value, schema, name }| {
                    let fields = self.children.get(&path)?.within(value, schema, &name);
                    (!fields.is_empty()).then_some((path, fields))
                })
                .collect(),
        }
    }

    pub(super) fn child(&self, path: &str) -> Option<&Fields> {
        self.children.get(path)
    }

    pub(super) fn is_member(&self) -> bool {
        self.member
    }

    /// The paths of the set, written as in Kubernetes' conflicts: `.spec.containers[name="a"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(prefix.to_owned());
        }
        for (path, fields) in &self.children {
            fields.collect_paths(&format!("{prefix}{}", readable(path)), paths);
        }
    }

    fn combine(&self, other: &Fields, member: fn(bool, bool) -> bool, alone: fn(&Fields) -> Fields) -> Fields {
        Fields {
            member: member(self.member, other.member),
            children: self
                .children
                .iter()
                .map(|(path, own)| {
                    let combined = match other.children.get(path) {
                        Some(others) => own.combine(others, member, alone),
                        None => alone(own),
                    };
                    (path.clone(), combined)
                })
                .filter(|(_, combined)| !combined.is_empty())
                .collect(),
        }
    }

    fn leaf() -> Fields {
        Fields { member: true, children: BTreeMap::new() }
    }
}

/// One step down from a value: into a map's field or a list's item.
pub(super) struct Element<'a> {
    pub(super) path: String,
    pub(super) value: &'a Value,
    pub(super) schema: Schema<'a>,
    pub(super) name: String,
}

/// The parts that can be owned apart from each other; none if the value is owned as a whole.
pub(super) fn elements<'a>(value: &'a Value, schema: Schema<'a>, name: &str) -> Option<Vec<Element<'a>>> {
    match value {
        Value::Object(map) if !map.is_empty() && !schema.is_atomic_map(name) => Some(
            map.iter()
                .map(|(field, value)| Element {
                    path: format!("f:{field}"),
                    value,
                    schema: schema.field(field),
                    name: field.clone(),
                })
                .collect(),
        ),
        Value::Array(items) if !items.is_empty() => {
            let kind = schema.list_kind(name);
            items
                .iter()
                .map(|item| {
                    Some(Element {
                        path: item_path(&kind, item)?,
                        value: item,
                        schema: schema.items(),
                        name: String::new(),
                    })
                })
                .collect()
        }
        _ => None,
    }
}

/// The path element of a list's item; none if the list is atomic (or its items lack their keys).
fn item_path(kind: &ListKind, item: &Value) -> Option<String> {
    match kind {
        ListKind::Atomic => None,
        ListKind::Set => Some(format!("v:{item}")),
        ListKind::Map(keys) => {
            let present: Map<String, Value> =
                keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect();
            (!present.is_empty()).then(|| format!("k:{}", Value::Object(present)))
        }
    }
}

fn readable(path: &str) -> String {
    match path.split_once(':') {
        Some(("f", field)) => format!(".{field}"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        _ => path.to_owned(),
    }
}
