//! Strategic merge patch, which kubectl sends for built-in kinds: a merge patch whose lists merge under their keys.
//! The order that `$setElementOrder` asks for is not followed.

use super::lists::{ListKind, Schema};
use crate::minik8s::object;
use serde_json::Value;

pub(crate) fn merge(live: &mut Value, patch: &Value) {
    merge_field(live, patch, "");
}

fn merge_field(live: &mut Value, patch: &Value, name: &str) {
    match patch {
        Value::Object(fields) if patch["$patch"] == "replace" => {
            let mut fields = fields.clone();
            fields.remove("$patch");
            *live = Value::Object(fields);
        }
        Value::Object(fields) => {
            let map = object::map(live);
            for (field, value) in fields {
                if let Some(list) = field.strip_prefix("$deleteFromPrimitiveList/") {
                    if let Some(items) = map.get_mut(list).and_then(Value::as_array_mut) {
                        items.retain(|item| !object::list(value).contains(item));
                    }
                } else if field.starts_with('$') {
                } else if value.is_null() || value["$patch"] == "delete" {
                    map.remove(field);
                } else {
                    merge_field(map.entry(field.as_str()).or_insert(Value::Null), value, field);
                }
            }
        }
        Value::Array(items) => merge_list(live, items, name),
        scalar => *live = scalar.clone(),
    }
}

fn merge_list(live: &mut Value, patch: &[Value], name: &str) {
    let kind = Schema::BuiltIn.list_kind(name);
    let mut merged = match (&kind, patch.iter().any(|item| item["$patch"] == "replace")) {
        (ListKind::Atomic, _) | (_, true) => Vec::new(),
        _ => object::list(live).to_vec(),
    };
    for item in patch {
        let place = merged.iter().position(|old| match &kind {
            ListKind::Map(keys) => keys.iter().all(|key| old.get(key) == item.get(key)),
            _ => old == item,
        });
        match (item["$patch"].as_str(), place) {
            (Some("delete"), Some(place)) => drop(merged.remove(place)),
            (Some("delete" | "replace"), _) => {}
            (_, Some(place)) => merge_field(&mut merged[place], item, ""),
            (_, None) => {
                let mut new = Value::Null;
                merge_field(&mut new, item, "");
                merged.push(new);
            }
        }
    }
    *live = Value::Array(merged);
}
