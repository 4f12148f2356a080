//! What is wrong with a flavor's amounts, so that no pod can have them. The schema refuses such flavors; there may be
//! some that were written before it did. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::{DevServerFlavorSpec, is_device};
use crate::operator::quantity::value;

/// What an administrator has to change.
pub(super) fn invalid(flavor: &DevServerFlavorSpec) -> Option<String> {
    let nothing = BTreeMap::new();
    let limits = flavor.resources.limits.as_ref().unwrap_or(&nothing);
    let requests = flavor.resources.requests.as_ref().unwrap_or(&nothing);
    let own = |(field, all)| amounts(all).find_map(|(name, amount)| wrong(field, name, amount));
    let together = || amounts(requests).find_map(|(name, request)| at_odds(name, request, limits.get(name)));
    [("limits", limits), ("requests", requests)].into_iter().find_map(own).or_else(together)
}

fn amounts(all: &BTreeMap<String, Quantity>) -> impl Iterator<Item = (&str, &Quantity)> {
    all.iter().map(|(name, amount)| (name.as_str(), amount))
}

fn wrong(field: &str, name: &str, amount: &Quantity) -> Option<String> {
    let text = &amount.0;
    match value(amount) {
        None => {
            Some(format!("resources.{field} asks for {text:?} of {name}: change it to a quantity such as 4 or 8Gi"))
        }
        Some(value) if is_device(name) && value.fract() != 0.0 => {
            Some(format!("resources.{field} asks for {text} of {name}: change it to a whole number"))
        }
        Some(_) => None,
    }
}

fn at_odds(name: &str, request: &Quantity, limit: Option<&Quantity>) -> Option<String> {
    let Some(limit) = limit else {
        return is_device(name).then(|| format!("resources.requests asks for {name}: move it to resources.limits"));
    };
    let (requested, limited) = value(request).zip(value(limit))?;
    let (request, limit) = (&request.0, &limit.0);
    match () {
        () if is_device(name) && requested != limited => Some(format!(
            "resources.requests asks for {request} {name}, and resources.limits for {limit}: make both the same"
        )),
        () if requested > limited => Some(format!(
            "resources.requests asks for {request} {name}, which is above its limit of {limit}: change one of them"
        )),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(resources: Value) -> Option<String> {
        invalid(&serde_json::from_value(json!({ "resources": resources })).unwrap())
    }

    #[test]
    fn what_no_pod_can_have_is_told_with_what_to_change() {
        for (resources, words) in [
            (
                json!({ "limits": { "nvidia.com/gpu": "banana" } }),
                "resources.limits asks for \"banana\" of nvidia.com/gpu: change it to a quantity such as 4 or 8Gi",
            ),
            (
                json!({ "requests": { "cpu": "-1" } }),
                "resources.requests asks for \"-1\" of cpu: change it to a quantity such as 4 or 8Gi",
            ),
            (
                json!({ "limits": { "nvidia.com/gpu": "500m" } }),
                "resources.limits asks for 500m of nvidia.com/gpu: change it to a whole number",
            ),
            (
                json!({ "requests": { "nvidia.com/gpu": "1" } }),
                "resources.requests asks for nvidia.com/gpu: move it to resources.limits",
            ),
            (
                json!({ "requests": { "nvidia.com/gpu": "1" }, "limits": { "nvidia.com/gpu": "2" } }),
                "resources.requests asks for 1 nvidia.com/gpu, and resources.limits for 2: make both the same",
            ),
            (
                json!({ "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } }),
                "resources.requests asks for 2Gi memory, which is above its limit of 1Gi: change one of them",
            ),
        ] {
            assert_eq!(told(resources).as_deref(), Some(words));
        }
    }

    #[test]
    fn what_a_pod_can_have_is_none_of_it() {
        for resources in [
            json!({}),
            json!({ "requests": { "cpu": "500m", "memory": "1Gi" }, "limits": { "cpu": 4, "memory": "1024Mi" } }),
            json!({ "requests": { "cpu": "1" }, "limits": { "nvidia.com/gpu": "1k" } }),
            json!({ "requests": { "nvidia.com/gpu": "2" }, "limits": { "nvidia.com/gpu": 2 } }),
        ] {
            assert_eq!(told(resources.clone()), None, "{resources}");
        }
    }
}
