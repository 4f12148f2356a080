//! `/metrics`: how often what was asked for, under the name and the labels that it has in Kubernetes.

use super::route::{Route, Verb};
use http::StatusCode;
use parking_lot::Mutex;
use std::{collections::BTreeMap, fmt::Write};

/// Labels → how many.
#[derive(Default)]
pub(crate) struct Requests(Mutex<BTreeMap<String, u64>>);

impl Requests {
    pub(super) fn count(&self, route: &Route, is_apply: bool, code: StatusCode) {
        let Route { resource, subresource, .. } = route;
        let labels = format!(
            "code=\"{}\",group=\"{}\",resource=\"{}\",subresource=\"{subresource}\",verb=\"{}\",version=\"{}\"",
            code.as_u16(),
            resource.group,
            resource.plural,
            name(route.verb, is_apply),
            resource.version
        );
        *self.0.lock().entry(labels).or_default() += 1;
    }

    /// As Prometheus reads it.
    pub(super) fn text(&self) -> String {
        let mut text = "# TYPE apiserver_request_total counter\n".to_owned();
        for (labels, count) in &*self.0.lock() {
            let _ = writeln!(text, "apiserver_request_total{{{labels}}} {count}"); // To a String: it cannot fail.
        }
        text
    }
}

fn name(verb: Verb, is_apply: bool) -> String {
    match verb {
        Verb::Create => "POST".to_owned(),
        Verb::Update => "PUT".to_owned(),
        Verb::Patch if is_apply => "APPLY".to_owned(),
        other => other.name().to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minik8s::apiserver::built_in_named;

    #[test]
    fn requests_of_a_kind_are_counted_together() {
        let requests = Requests::default();
        let of = |verb| Route {
            verb,
            resource: built_in_named("pods"),
            namespace: "dev-alice".to_owned(),
            name: "dev".to_owned(),
            subresource: String::new(),
        };
        for (verb, is_apply) in [(Verb::Patch, true), (Verb::Patch, false), (Verb::Patch, true), (Verb::Create, false)]
        {
            requests.count(&of(verb), is_apply, StatusCode::OK);
        }
        let line = |verb: &str, count: u64| {
            let labels =
                format!("code=\"200\",group=\"\",resource=\"pods\",subresource=\"\",verb=\"{verb}\",version=\"v1\"");
            format!("apiserver_request_total{{{labels}}} {count}\n")
        };
        let lines = [line("APPLY", 2), line("PATCH", 1), line("POST", 1)].concat();
        assert_eq!(requests.text(), format!("# TYPE apiserver_request_total counter\n{lines}"));
    }
}
