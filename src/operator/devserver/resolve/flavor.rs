//! The flavor that a DevServer names, or the default one of those that its owner may use.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::{Invalid, ResolvedFlavor};
use crate::api::{DevServerFlavor, DevServerFlavorSpec};

pub(in super::super) fn resolve(
    name: Option<String>,
    flavors: &[Arc<DevServerFlavor>],
    user: &str,
) -> Result<ResolvedFlavor, Invalid> {
    let is_hers = |flavor: &&Arc<DevServerFlavor>| {
        let allowed = &flavor.spec.allowed_users;
        allowed.is_empty() || allowed.iter().any(|one| one == user)
    };
    let hers = || {
        let mut names: Vec<String> = flavors.iter().filter(is_hers).map(|flavor| flavor.name_any()).collect();
        names.sort();
        names
    };
    let found = match &name {
        Some(name) => flavors.iter().find(|flavor| flavor.name_any() == *name),
        None => {
            let defaults = flavors.iter().filter(|flavor| flavor.spec.default).filter(is_hers);
            defaults.min_by_key(|flavor| flavor.name_any())
        }
    };
    match (found, name) {
        (Some(flavor), Some(name)) if !is_hers(&flavor) => {
            Err(Invalid::FlavorNotAllowed { name, user: user.to_owned(), existing: hers() })
        }
        (Some(flavor), _) => Ok(read(flavor)),
        (None, None) => Ok(ResolvedFlavor::default()),
        (None, Some(name)) => Err(Invalid::NoFlavor { name, existing: hers() }),
    }
}

fn read(flavor: &DevServerFlavor) -> ResolvedFlavor {
    let DevServerFlavorSpec {
        resources,
        node_selector,
        tolerations,
        runtime_class_name,
        time_limit: _,
        allowed_users: _,
        volumes,
        default: _,
    } = flavor.spec.clone();
    ResolvedFlavor {
        name: Some(flavor.name_any()),
        resources,
        node_selector,
        tolerations,
        runtime_class_name,
        time_limit: time_limit(flavor),
        volumes,
    }
}

/// For how long a DevServer of it may run.
pub(in super::super) fn time_limit(flavor: &DevServerFlavor) -> Option<Duration> {
    // Zero would be no time at all.
    flavor.spec.time_limit.as_ref()?.get().filter(|limit| !limit.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::devserver::resolve::tests::flavor;

    fn only_for(name: &str, default: bool, users: &[&str]) -> Arc<DevServerFlavor> {
        let mut flavor = (*flavor(name, default)).clone();
        flavor.spec.allowed_users = users.iter().map(|user| (*user).to_owned()).collect();
        Arc::new(flavor)
    }

    #[test]
    fn a_flavor_of_others_is_refused_with_those_that_she_may_use() {
        let flavors = [only_for("a", false, &["bob"]), only_for("b", false, &["alice", "bob"]), flavor("c", false)];
        let names = |name: &str, user: &str| resolve(Some(name.to_owned()), &flavors, user);
        assert!(names("b", "alice").is_ok() && names("c", "carol").is_ok());
        let told = names("a", "alice").unwrap_err().to_string();
        assert_eq!(told, r#"flavor "a" is not for alice; these are: b, c"#);
        let told = names("x", "carol").unwrap_err().to_string();
        assert_eq!(told, r#"there is no flavor "x"; there are: c"#, "what is not hers is not shown to her");
        let told = resolve(Some("a".to_owned()), &flavors[..1], "alice").unwrap_err().to_string();
        assert_eq!(told, r#"flavor "a" is not for alice; none is"#);
    }

    #[test]
    fn the_default_is_one_that_she_may_use() {
        let flavors = [only_for("a", true, &["bob"]), flavor("b", true)];
        let pool = |user| resolve(None, &flavors, user).unwrap().node_selector["pool"].clone();
        assert_eq!((pool("bob"), pool("alice")), ("a".to_owned(), "b".to_owned()));
    }
}
