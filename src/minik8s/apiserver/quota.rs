//! How many pods the quotas of a namespace allow. Nothing else of a quota is looked at: nothing else is counted here.

use crate::minik8s::{object, store::Objects};

/// Why there can be no further pod in the namespace, if there cannot.
pub(super) fn exceeded(namespace: &str, objects: &Objects) -> Option<String> {
    let is_over = |pod: &serde_json::Value| matches!(object::text(&pod["status"]["phase"]), "Succeeded" | "Failed");
    objects.list("resourcequotas", namespace).find_map(|quota| {
        let most = object::text(&quota["spec"]["hard"]["pods"]).parse::<usize>().ok()?;
        let used = objects.list("pods", namespace).filter(|pod| !is_over(pod)).count();
        let name = object::name(quota);
        (used >= most)
            .then(|| format!("exceeded quota: {name}, requested: pods=1, used: pods={used}, limited: pods={most}"))
    })
}
