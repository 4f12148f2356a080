//! For how long a DevServer may run, whatever its spec says by now. Pure.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::build::{MadeOf, made_of};
use super::limits;
use super::resolve::flavor;
use crate::api::{DevServer, DevServerFlavor, DevServerUser, names};

/// The least of what the flavor of its spec, the flavor that its pod was made of, and its owner may have. A spec that
/// cannot be had ends no pod that runs, and must not make it run longer either.
pub(super) fn time_limit(
    server: &DevServer,
    pod: Option<&Pod>,
    flavors: &[Arc<DevServerFlavor>],
    owner: Option<&DevServerUser>,
) -> Option<Duration> {
    let of_spec = of_spec(server, flavors);
    let of_pod = pod.and_then(made_of).and_then(|made| of_pod(&made, flavors));
    of_spec.into_iter().chain(of_pod).chain(owner.and_then(limits::time)).min()
}

fn of_spec(server: &DevServer, flavors: &[Arc<DevServerFlavor>]) -> Option<Duration> {
    match &server.spec.flavor {
        // Also one that is not hers, or no longer: it is what an older operator made the pod of.
        Some(name) => flavor::time_limit(flavors.iter().find(|flavor| flavor.name_any() == *name)?),
        None => {
            let namespace = server.namespace().unwrap_or_default();
            flavor::resolve(None, flavors, names::user_of(&namespace)?).ok()?.time_limit
        }
    }
}

/// What the administrator says of it by now; of one that is gone, what was said when the pod was made.
fn of_pod(made: &MadeOf<'_>, flavors: &[Arc<DevServerFlavor>]) -> Option<Duration> {
    match flavors.iter().find(|flavor| flavor.name_any() == made.flavor) {
        Some(flavor) => flavor::time_limit(flavor),
        None => made.time_limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::user::UserLimits;
    use crate::api::{DevServerSpec, DevServerUserSpec, TimeSpan};
    use crate::operator::devserver::build::build_pod;
    use crate::operator::devserver::resolve::resolve;
    use crate::operator::devserver::resolve::tests::{flavor, server};
    use crate::operator::tests::config;

    fn limited(name: &str, hours: u64, users: &[&str]) -> Arc<DevServerFlavor> {
        let mut flavor = (*flavor(name, false)).clone();
        flavor.spec.time_limit = (hours > 0).then(|| TimeSpan(format!("{hours}h")));
        flavor.spec.allowed_users = users.iter().map(|user| (*user).to_owned()).collect();
        Arc::new(flavor)
    }

    fn names(flavor: Option<&str>) -> DevServer {
        server(DevServerSpec { flavor: flavor.map(str::to_owned), ..DevServerSpec::default() })
    }

    fn hours(spec: Option<&str>, pod: Option<&Pod>, flavors: &[Arc<DevServerFlavor>]) -> Option<u64> {
        time_limit(&names(spec), pod, flavors, None).map(|limit| limit.as_secs() / 3600)
    }

    #[test]
    fn what_a_pod_was_made_of_limits_it_whatever_its_spec_names_since() {
        let (large, free, short) = (limited("large", 24, &[]), limited("free", 0, &[]), limited("short", 2, &[]));
        let all = [large.clone(), free.clone(), short.clone()];
        let pod = |name: &str| build_pod(&resolve(&names(Some(name)), &all, &config()).unwrap());
        let (of_large, of_free) = (pod("large"), pod("free"));

        assert_eq!(hours(Some("large"), None, &all), Some(24));
        assert_eq!(hours(Some("large"), Some(&of_large), &all), Some(24));
        for other in [Some("nosuch"), Some("free"), None] {
            assert_eq!(hours(other, Some(&of_large), &all), Some(24), "{other:?}");
        }
        assert_eq!(hours(Some("short"), Some(&of_large), &all), Some(2));
        assert_eq!(hours(Some("free"), Some(&of_free), &all), None);

        let taken_away = [limited("large", 24, &["bob"]), free.clone()];
        assert_eq!(hours(Some("large"), Some(&of_large), &taken_away), Some(24));
        assert_eq!(hours(Some("large"), Some(&of_large), std::slice::from_ref(&free)), Some(24), "as it was noted");
        let wider = [limited("large", 48, &[]), free];
        assert_eq!(hours(Some("nosuch"), Some(&of_large), &wider), Some(48), "the administrator's present word");

        let mut of_an_older_operator = of_large;
        of_an_older_operator.metadata.annotations = None;
        assert_eq!(hours(Some("large"), Some(&of_an_older_operator), &taken_away), Some(24));
    }

    #[test]
    fn its_owner_may_have_less() {
        let limits = UserLimits { max_time_to_live: Some(TimeSpan("1h".to_owned())), ..UserLimits::default() };
        let spec = DevServerUserSpec { limits: Some(limits), ..DevServerUserSpec::default() };
        let alice = DevServerUser::new("alice", spec);
        let limit = time_limit(&names(Some("large")), None, &[limited("large", 24, &[])], Some(&alice));
        assert_eq!(limit, Some(Duration::from_secs(3600)));
    }
}
