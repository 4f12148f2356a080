//! What a user's namespace adds to what was resolved: limits for containers that name none (its LimitRange), and what
//! each container has to be like (its Pod Security level).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Invalid, Resolved};
use crate::api::RunAs;
use crate::operator::Config;
use crate::operator::quantity::value;
use crate::provisioning::PodSecurity;

/// What holds in a namespace.
pub(in super::super) struct Terms {
    pub(in super::super) pod_security: PodSecurity,
    /// The limits of a container that names none.
    pub(in super::super) limits: BTreeMap<String, Quantity>,
}

/// `wanted` as it is to be in a namespace with these terms.
pub(in super::super) fn fit(mut wanted: Resolved, terms: &Terms, config: &Config) -> Result<Resolved, Invalid> {
    let resources = &mut wanted.flavor.resources;
    raise_limits(resources, &terms.limits);
    if wanted.wishes.shm.is_none() {
        let own = resources.limits.as_ref().and_then(|limits| limits.get("memory"));
        wanted.shm = own.or(terms.limits.get("memory")).and_then(half);
    }
    if terms.pod_security == PodSecurity::Restricted {
        wanted.user_in_pod = unprivileged(wanted.user_in_pod, config)?;
        wanted.is_restricted = true;
    }
    Ok(wanted)
}

/// With the namespace's limit below what is requested it would be no valid pod: it gets what it requests then, and no
/// more.
fn raise_limits(resources: &mut ResourceRequirements, by_default: &BTreeMap<String, Quantity>) {
    let ResourceRequirements { requests, limits, claims: _ } = resources;
    for (name, request) in requests.iter().flatten() {
        let is_limited = limits.as_ref().is_some_and(|limits| limits.contains_key(name));
        let is_below = |limit: &Quantity| value(limit).zip(value(request)).is_some_and(|(limit, asked)| limit < asked);
        if !is_limited && by_default.get(name).is_some_and(is_below) {
            limits.get_or_insert_default().insert(name.clone(), request.clone());
        }
    }
}

/// In whole mebibytes, for who reads the pod.
fn half(memory: &Quantity) -> Option<Quantity> {
    Some(Quantity(format!("{}Mi", (value(memory)? / 2.0 / MEBIBYTE).ceil())))
}

fn unprivileged(RunAs { uid, gid, sudo }: RunAs, config: &Config) -> Result<RunAs, Invalid> {
    if uid == Some(0) {
        return Err(Invalid::Restricted(
            "uid 0 is root, which is not allowed here (Pod Security restricted): name another uid, or none",
        ));
    }
    if sudo == Some(true) {
        return Err(Invalid::Restricted(
            "sudo is not allowed here (Pod Security restricted): set it to false, or leave it out",
        ));
    }
    Ok(RunAs { uid: uid.or(Some(config.restricted_uid)), gid, sudo: Some(false) })
}

const MEBIBYTE: f64 = 1024.0 * 1024.0;

#[cfg(test)]
pub(in crate::operator::devserver) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::{DevServerFlavor, DevServerSpec};
    use crate::operator::devserver::resolve::resolve;
    use crate::operator::devserver::resolve::tests::{flavor, server};
    use crate::operator::tests::config;
    use serde_json::json;

    pub(in crate::operator::devserver) fn terms(pod_security: PodSecurity, limits: &[(&str, &str)]) -> Terms {
        let limits = limits.iter().map(|(name, limit)| ((*name).to_owned(), Quantity((*limit).to_owned()))).collect();
        Terms { pod_security, limits }
    }

    fn sized(resources: serde_json::Value) -> Arc<DevServerFlavor> {
        let mut sized = (*flavor("sized", true)).clone();
        sized.spec.resources = serde_json::from_value(resources).unwrap();
        Arc::new(sized)
    }

    #[test]
    fn nothing_is_limited_to_less_than_it_requests() {
        let limits = |resources, by_default: &[(&str, &str)]| {
            let wanted = resolve(&server(DevServerSpec::default()), &[sized(resources)], &config()).unwrap();
            let wanted = fit(wanted, &terms(PodSecurity::Baseline, by_default), &config()).unwrap();
            serde_json::to_value(wanted.flavor.resources.limits).unwrap()
        };
        let requests = json!({ "requests": { "cpu": "500m", "memory": "4Gi" } });
        let by_default = [("cpu", "2"), ("memory", "2Gi")];
        assert_eq!(limits(requests.clone(), &by_default), json!({ "memory": "4Gi" }), "cpu is the namespace's");
        assert_eq!(limits(requests.clone(), &[("cpu", "250m"), ("memory", "4096Mi")]), json!({ "cpu": "500m" }));
        assert_eq!(limits(requests, &[]), json!(null), "nothing limits it");
        let both = json!({ "requests": { "memory": "4Gi" }, "limits": { "memory": "8Gi", "nvidia.com/gpu": "1" } });
        assert_eq!(limits(both.clone(), &by_default), both["limits"]);
        assert_eq!(limits(json!({}), &by_default), json!(null));
    }

    #[test]
    fn shared_memory_is_half_of_whatever_limits_the_memory_unless_the_spec_says_otherwise() {
        let shm = |wish: Option<&str>, resources, by_default: &[(&str, &str)]| {
            let spec = DevServerSpec { shm: wish.map(|size| Quantity(size.to_owned())), ..DevServerSpec::default() };
            let wanted = resolve(&server(spec), &[sized(resources)], &config()).unwrap();
            fit(wanted, &terms(PodSecurity::Baseline, by_default), &config()).unwrap().shm.map(|size| size.0)
        };
        let (limited, by_default) = (json!({ "limits": { "memory": "3Gi" } }), [("memory", "2Gi")]);
        assert_eq!(shm(None, limited.clone(), &by_default).as_deref(), Some("1536Mi"));
        assert_eq!(shm(None, json!({}), &by_default).as_deref(), Some("1024Mi"), "the namespace's limit");
        let requests = json!({ "requests": { "memory": "8Gi" } });
        assert_eq!(shm(None, requests, &by_default).as_deref(), Some("4096Mi"), "the limit is what it requests");
        assert_eq!(shm(None, json!({}), &[]), None, "half of nothing is nothing");
        assert_eq!(shm(Some("8Gi"), limited.clone(), &by_default).as_deref(), Some("8Gi"));
        assert_eq!(shm(Some("0"), limited, &by_default), None, "the runtime's own");
    }

    #[test]
    fn under_restricted_nobody_is_root_nor_becomes_it() {
        let run_as = |level, user: serde_json::Value| {
            let user = serde_json::from_value(user).unwrap();
            let wanted = resolve(&server(DevServerSpec { user, ..DevServerSpec::default() }), &[], &config()).unwrap();
            let fitted = fit(wanted, &terms(level, &[]), &config());
            fitted.map(|wanted| (wanted.user_in_pod, wanted.is_restricted)).map_err(|invalid| invalid.to_string())
        };
        let restricted = |user| run_as(PodSecurity::Restricted, user);
        let is = |uid, gid| Ok((RunAs { uid: Some(uid), gid, sudo: Some(false) }, true));
        assert_eq!(restricted(json!(null)), is(1000, None), "whom the settings name");
        assert_eq!(restricted(json!({ "uid": 1234, "gid": 0, "sudo": false })), is(1234, Some(0)));
        let refused = restricted(json!({ "uid": 0 })).unwrap_err();
        assert!(
            refused.starts_with("user.uid 0 is root") && refused.ends_with("name another uid, or none"),
            "{refused}"
        );
        let refused = restricted(json!({ "uid": 1234, "sudo": true })).unwrap_err();
        assert!(refused.starts_with("user.sudo") && refused.ends_with("leave it out"), "{refused}");
        let root = RunAs { uid: Some(0), gid: None, sudo: Some(true) };
        for level in [PodSecurity::Privileged, PodSecurity::Baseline] {
            assert_eq!(run_as(level, json!({ "uid": 0, "sudo": true })), Ok((root.clone(), false)));
        }
    }
}
