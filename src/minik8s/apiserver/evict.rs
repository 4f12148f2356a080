//! `pods/eviction`: a deletion that says in the pod's status whose wish it is. Budgets of disruption are not looked at.

use super::{
    delete::{self, Options},
    route::{Query, Route, Verb},
    status::Refusal,
};
use crate::minik8s::{
    object::{condition, set_condition},
    store::Store,
};
use serde_json::{Value, json};

pub(super) fn evict(store: &Store, route: &Route, eviction: &Value, query: &Query) -> Result<Value, Refusal> {
    let options = match &eviction["deleteOptions"] {
        Value::Null => Options::of(&[], query)?,
        options => Options::of(options.to_string().as_bytes(), query)?,
    };
    let target = condition("DisruptionTarget", true, "EvictionByEvictionAPI", "Eviction API: evicting");
    store.edit(&route.key(), |pod| set_condition(&mut pod["status"], target))?;
    let pod = Route {
        verb: Verb::Delete,
        resource: route.resource.clone(),
        namespace: route.namespace.clone(),
        name: route.name.clone(),
        subresource: String::new(),
    };
    delete::delete(store, &pod, &options)?;
    Ok(json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "code": 201}))
}
