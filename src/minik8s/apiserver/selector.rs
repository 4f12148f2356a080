//! Label and field selectors.

use super::{resources::Resource, route::Query, status::Refusal};
use crate::minik8s::object;
use serde_json::Value;

#[derive(Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Label>,
    /// Dotted path, value, and whether it has to be so or must not.
    fields: Vec<(String, String, bool)>,
}

#[derive(Debug, PartialEq)]
enum Label {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    NotExists(String),
}

impl Selector {
    pub(super) fn of(query: &Query, resource: &Resource) -> Result<Selector, Refusal> {
        let labels = split(query.get("labelSelector"))
            .into_iter()
            .map(|part| label(part).ok_or_else(|| unparsable(part)))
            .collect::<Result<_, _>>()?;
        let fields = split(query.get("fieldSelector"))
            .into_iter()
            .map(|part| field(part, resource))
            .collect::<Result<_, _>>()?;
        Ok(Selector { labels, fields })
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|label| match label {
            Label::In(key, values) => {
                labels[key].as_str().is_some_and(|value| values.iter().any(|wanted| wanted == value))
            }
            Label::NotIn(key, values) => {
                !labels[key].as_str().is_some_and(|value| values.iter().any(|wanted| wanted == value))
            }
            Label::Exists(key) => labels.get(key).is_some(),
            Label::NotExists(key) => labels.get(key).is_none(),
        }) && self.fields.iter().all(|(path, wanted, equal)| {
            let value = path.split('.').fold(object, |value, step| &value[step]);
            (object::text(value) == wanted) == *equal
        })
    }
}

/// At commas that are not inside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|char| {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        char == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

fn label(part: &str) -> Option<Label> {
    let values = |text: &str| {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let key = |text: &str| {
        let text = text.trim();
        (!text.is_empty() && !text.contains(char::is_whitespace)).then(|| text.to_owned())
    };
    let one = |text: &str| vec![text.trim().to_owned()];
    if let Some((name, set)) = part.split_once(" notin ") {
        return Some(Label::NotIn(key(name)?, values(set)?));
    }
    if let Some((name, set)) = part.split_once(" in ") {
        return Some(Label::In(key(name)?, values(set)?));
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Some(Label::NotIn(key(name)?, one(value)));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Label::In(key(name)?, one(value)));
    }
    match part.strip_prefix('!') {
        Some(name) => Some(Label::NotExists(key(name)?)),
        None => Some(Label::Exists(key(part)?)),
    }
}

fn field(part: &str, resource: &Resource) -> Result<(String, String, bool), Refusal> {
    let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
        (path, value, false)
    } else {
        let (path, value) = part.split_once("==").or_else(|| part.split_once('=')).ok_or_else(|| unparsable(part))?;
        (path, value, true)
    };
    let of_kind: &[&str] = match resource.storage().as_str() {
        "pods" => &["spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "reason",
            "type",
        ],
        _ => &[],
    };
    let path = path.trim();
    if !["metadata.name", "metadata.namespace"].contains(&path) && !of_kind.contains(&path) {
        let message = format!("field label not supported: {path}");
        return Err(Refusal::bad_request(message));
    }
    Ok((path.to_owned(), value.trim().to_owned(), equal))
}

fn unparsable(part: &str) -> Refusal {
    Refusal::bad_request(format!("unable to parse requirement: {part}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(labels: &str, object: Value) -> bool {
        let labels = split(labels).into_iter().map(|part| label(part).unwrap()).collect();
        Selector { labels, fields: Vec::new() }.matches(&object)
    }

    #[test]
    fn labels_match_by_value_set_and_presence() {
        let object = json!({"metadata": {"labels": {"app": "a", "a.io/tier": "x"}}});
        for yes in ["", "app=a", "app==a,a.io/tier=x", "app in (a, b)", "app", "!no", "no!=1", "app notin (b)"] {
            assert!(matches(yes, object.clone()), "{yes}");
        }
        for no in ["app=b", "app!=a", "!app", "no", "app notin (a,b)", "no in (a)"] {
            assert!(!matches(no, object.clone()), "{no}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(label("a b").is_none());
        assert!(label("a in b").is_none());
    }
}
