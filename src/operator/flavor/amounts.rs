//! Amounts of resources: what a pod asks for, and what a node has.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::operator::quantity::value;

/// By the resource's name; what is not there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Amounts(pub(super) BTreeMap<String, f64>);

impl Amounts {
    pub(super) fn of(quantities: &BTreeMap<String, Quantity>) -> Self {
        Self(quantities.iter().filter_map(|(name, quantity)| Some((name.clone(), value(quantity)?))).collect())
    }

    /// What a container with these is sure to get: its limit where it only has one, `by_default` where it has neither.
    pub(super) fn requested(resources: &ResourceRequirements, by_default: &Self) -> Self {
        let of =
            |quantities: &Option<BTreeMap<String, Quantity>>| quantities.as_ref().map(Self::of).unwrap_or_default();
        let mut all = by_default.clone();
        all.0.extend(of(&resources.limits).0);
        all.0.extend(of(&resources.requests).0);
        all
    }

    /// What the scheduler counts for a pod: the most that it needs at any time. The API server has put defaults in.
    pub(super) fn of_pod(pod: &Pod) -> Self {
        let Some(spec) = pod.spec.as_ref() else { return Self::default() };
        let of = |container: &Container| {
            let resources = container.resources.as_ref();
            resources.map(|resources| Self::requested(resources, &Self::default())).unwrap_or_default()
        };
        let mut running = Self::default();
        let mut starting = Self::default();
        for container in spec.init_containers.iter().flatten() {
            let own = of(container);
            if container.restart_policy.as_deref() == Some("Always") {
                running.add(&own);
                starting.at_least(&running);
            } else {
                let mut with_sidecars = running.clone();
                with_sidecars.add(&own);
                starting.at_least(&with_sidecars);
            }
        }
        for container in &spec.containers {
            running.add(&of(container));
        }
        running.at_least(&starting);
        if let Some(of_the_pod) = &spec.resources {
            running.0.extend(Self::requested(of_the_pod, &Self::default()).0);
        }
        if let Some(overhead) = &spec.overhead {
            running.add(&Self::of(overhead));
        }
        *running.0.entry("pods".to_owned()).or_default() += 1.0;
        running
    }

    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += amount;
        }
    }

    fn at_least(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let own = self.0.entry(name.clone()).or_default();
            *own = own.max(*amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of_pod(spec: Value) -> Vec<(String, f64)> {
        let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
        Amounts::of_pod(&pod).0.into_iter().collect()
    }

    fn requests(cpu: &str) -> Value {
        json!({ "requests": { "cpu": cpu } })
    }

    #[test]
    fn a_pod_counts_with_the_most_that_it_needs_at_any_time() {
        let pods = ("pods".to_owned(), 1.0);
        let cpu = |amount| vec![("cpu".to_owned(), amount), pods.clone()];
        let containers =
            json!([{ "name": "a", "resources": requests("1") }, { "name": "b", "resources": requests("500m") }]);
        assert_eq!(of_pod(json!({ "containers": containers })), cpu(1.5));
        let init = |cpu: &str, policy: Option<&str>| json!({ "name": "i", "resources": requests(cpu), "restartPolicy": policy });
        assert_eq!(of_pod(json!({ "initContainers": [init("4", None)], "containers": containers })), cpu(4.0));
        let sidecar = json!([init("1", Some("Always")), init("1", None)]);
        assert_eq!(of_pod(json!({ "initContainers": sidecar, "containers": containers })), cpu(2.5));
        assert_eq!(of_pod(json!({ "containers": containers, "overhead": { "cpu": "250m" } })), cpu(1.75));
        assert_eq!(of_pod(json!({ "containers": containers, "resources": requests("3") })), cpu(3.0));
    }

    #[test]
    fn a_limit_stands_for_a_request_that_is_missing() {
        let resources = serde_json::from_value(json!({
            "requests": { "cpu": "1" }, "limits": { "cpu": "4", "nvidia.com/gpu": "2" }
        }));
        let by_default = Amounts([("cpu".to_owned(), 0.1), ("memory".to_owned(), 7.0)].into());
        let requested = Amounts::requested(&resources.unwrap(), &by_default);
        let expected = [("cpu", 1.0), ("memory", 7.0), ("nvidia.com/gpu", 2.0)];
        assert_eq!(requested.0, expected.map(|(name, amount)| (name.to_owned(), amount)).into());
    }
}
