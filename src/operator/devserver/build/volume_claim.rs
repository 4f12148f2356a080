//! The claim that holds the home. It has no owner reference: it outlives the DevServer.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::labels;
use crate::api::names;
use crate::operator::devserver::resolve::{HomeSize, HomeVolume, Resolved};
use crate::operator::quantity::value;

pub(in super::super) struct BuiltClaim {
    /// To apply; `None` if what exists will do.
    pub(in super::super) claim: Option<PersistentVolumeClaim>,
    /// What of the wish cannot be had, for the owner.
    pub(in super::super) note: Option<String>,
}

/// The claim for `wanted`, given the one that exists and the class it has. A home that was kept from an earlier
/// DevServer or that somebody restored, is taken over as it is: a claim's class cannot change, and its size can only
/// grow, if its owner says so.
pub(in super::super) fn build_claim(
    wanted: &Resolved,
    existing: Option<&PersistentVolumeClaim>,
    class: Option<&StorageClass>,
) -> BuiltClaim {
    let HomeVolume::Own { size, storage_class: class_wish } = &wanted.home.volume else {
        return BuiltClaim { claim: None, note: None };
    };
    let Some(existing) = existing else {
        let (HomeSize::Asked(size) | HomeSize::Default(size)) = size;
        let claim = claim(wanted, size.clone(), class_wish.clone(), None);
        return BuiltClaim { claim: Some(claim), note: None };
    };
    let spec = existing.spec.clone().unwrap_or_default();
    let class_name = spec.storage_class_name;
    let requested = spec.resources.and_then(|resources| resources.requests?.remove("storage"));
    let note = match (class_wish, &class_name) {
        (Some(wish), Some(fact)) if wish != fact => {
            Some(format!("the home keeps its storage class {fact}: it cannot change to {wish}"))
        }
        _ => None,
    };
    let (size, size_note) = match (size, requested) {
        (HomeSize::Asked(wish), Some(requested)) => grow(wish, requested, existing, class),
        (HomeSize::Default(_), Some(requested)) => (requested, None),
        (HomeSize::Asked(size) | HomeSize::Default(size), None) => (size.clone(), None),
    };
    let same_size = existing.spec.as_ref().and_then(storage) == Some(&size);
    let labelled = labels(wanted).iter().all(|(key, value)| existing.labels().get(key) == Some(value));
    let changed = (!same_size || !labelled).then(|| claim(wanted, size, class_name, spec.access_modes));
    BuiltClaim { claim: changed, note: note.or(size_note) }
}

/// The size to ask for, and why it is not the one that was wished for.
fn grow(
    wish: &Quantity,
    requested: Quantity,
    existing: &PersistentVolumeClaim,
    class: Option<&StorageClass>,
) -> (Quantity, Option<String>) {
    let Some((wish_bytes, requested_bytes)) = value(wish).zip(value(&requested)) else {
        let note = format!("the home keeps its {}: {:?} is not a valid size", requested.0, wish.0);
        return (requested, Some(note));
    };
    if wish_bytes == requested_bytes {
        return (requested, None);
    }
    let capacity = existing.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    let Some(capacity) = capacity.and_then(value) else {
        // Not bound yet: the API server would refuse any change.
        return (requested, None);
    };
    if wish_bytes < capacity {
        let note = format!("the home keeps its {}: volumes cannot shrink to {}", requested.0, wish.0);
        return (requested, Some(note));
    }
    if wish_bytes > requested_bytes && class.is_none_or(|class| class.allow_volume_expansion != Some(true)) {
        let class = class.map_or("none".to_owned(), ResourceExt::name_any);
        let note = format!("the home keeps its {}: its storage class ({class}) cannot grow volumes", requested.0);
        return (requested, Some(note));
    }
    (wish.clone(), None)
}

fn claim(
    wanted: &Resolved,
    size: Quantity,
    class: Option<String>,
    access_modes: Option<Vec<String>>,
) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::home_claim(&wanted.name)),
            namespace: Some(wanted.namespace.clone()),
            labels: Some(labels(wanted)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: access_modes.or_else(|| Some(vec!["ReadWriteOnce".to_owned()])),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            storage_class_name: class,
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn storage(spec: &PersistentVolumeClaimSpec) -> Option<&Quantity> {
    spec.resources.as_ref()?.requests.as_ref()?.get("storage")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerSpec, Home};
    use crate::operator::devserver::resolve::resolve;
    use crate::operator::devserver::resolve::tests::server;
    use crate::operator::tests::config;

    fn wanted(size: &str, class: Option<&str>) -> Resolved {
        let size = Some(Quantity(size.to_owned()));
        let home = Home { size, storage_class: class.map(str::to_owned), ..Home::default() };
        resolve(&server(DevServerSpec { home: Some(home), ..DevServerSpec::default() }), &[], &config()).unwrap()
    }

    fn bound(size: &str) -> PersistentVolumeClaim {
        let mut claim = claim(&wanted(size, None), Quantity(size.to_owned()), Some("fast".to_owned()), None);
        claim.status = serde_json::from_value(serde_json::json!({
            "phase": "Bound", "capacity": { "storage": size }
        }))
        .unwrap();
        claim
    }

    fn class(grows: bool) -> StorageClass {
        StorageClass {
            metadata: ObjectMeta { name: Some("fast".to_owned()), ..ObjectMeta::default() },
            allow_volume_expansion: Some(grows),
            ..StorageClass::default()
        }
    }

    fn size(built: &BuiltClaim) -> Option<&str> {
        storage(built.claim.as_ref()?.spec.as_ref()?).map(|size| size.0.as_str())
    }

    #[test]
    fn a_new_home_is_as_wished_and_nobodys_child() {
        let built = build_claim(&wanted("5Gi", Some("fast")), None, None);
        assert_eq!(size(&built), Some("5Gi"));
        let claim = built.claim.unwrap();
        assert_eq!(claim.metadata.owner_references, None);
        assert_eq!(claim.metadata.name.as_deref(), Some("dev-home"));
        assert_eq!(claim.spec.unwrap().storage_class_name.as_deref(), Some("fast"));
    }

    #[test]
    fn a_home_of_another_kind_has_no_claim_made_for_it() {
        for home in [
            Home { existing_claim: Some("mine".to_owned()), ..Home::default() },
            Home { ephemeral: true, ..Home::default() },
        ] {
            let spec = DevServerSpec { home: Some(home), ..DevServerSpec::default() };
            let wanted = resolve(&server(spec), &[], &config()).unwrap();
            assert!(build_claim(&wanted, None, None).claim.is_none());
            assert!(build_claim(&wanted, Some(&bound("5Gi")), None).claim.is_none(), "one that is there is left alone");
        }
    }

    #[test]
    fn a_home_that_will_do_is_left_alone() {
        for wish in ["5Gi", "5120Mi", "5368709120"] {
            let built = build_claim(&wanted(wish, None), Some(&bound("5Gi")), Some(&class(true)));
            assert!(built.claim.is_none() && built.note.is_none(), "{wish}");
        }
    }

    #[test]
    fn a_home_grows_where_its_class_can() {
        let built = build_claim(&wanted("6Gi", None), Some(&bound("5Gi")), Some(&class(true)));
        assert_eq!(size(&built), Some("6Gi"));
        assert_eq!(built.claim.unwrap().spec.unwrap().storage_class_name.as_deref(), Some("fast"));

        let built = build_claim(&wanted("6Gi", None), Some(&bound("5Gi")), Some(&class(false)));
        assert!(built.claim.is_none());
        assert_eq!(built.note.unwrap(), "the home keeps its 5Gi: its storage class (fast) cannot grow volumes");
    }

    #[test]
    fn a_home_never_shrinks_nor_changes_its_class() {
        let built = build_claim(&wanted("1Gi", None), Some(&bound("5Gi")), Some(&class(true)));
        assert!(built.claim.is_none());
        assert_eq!(built.note.unwrap(), "the home keeps its 5Gi: volumes cannot shrink to 1Gi");

        let built = build_claim(&wanted("5Gi", Some("slow")), Some(&bound("5Gi")), Some(&class(true)));
        assert!(built.claim.is_none());
        assert_eq!(built.note.unwrap(), "the home keeps its storage class fast: it cannot change to slow");
    }

    #[test]
    fn a_home_that_somebody_restored_is_taken_over_as_it_is() {
        let mut restored = bound("5Gi");
        restored.metadata.labels = None;
        restored.spec.as_mut().unwrap().access_modes = Some(vec!["ReadWriteMany".to_owned()]);
        let says_nothing = resolve(&server(DevServerSpec::default()), &[], &config()).unwrap();
        for (wanted, expected) in [(says_nothing, "5Gi"), (wanted("6Gi", None), "6Gi")] {
            let built = build_claim(&wanted, Some(&restored), Some(&class(true)));
            assert_eq!((size(&built), &built.note), (Some(expected), &None), "it grows only if its owner asks");
            let claim = built.claim.unwrap();
            assert_eq!(claim.metadata.labels, Some(labels(&wanted)), "it is ours from now on");
            let spec = claim.spec.unwrap();
            assert_eq!(
                (spec.access_modes.unwrap(), spec.storage_class_name.unwrap()),
                (vec!["ReadWriteMany".to_owned()], "fast".to_owned())
            );
        }
    }

    #[test]
    fn a_default_that_changes_changes_no_home() {
        let says_nothing = resolve(&server(DevServerSpec::default()), &[], &config()).unwrap();
        for there in ["5Gi", "20Gi"] {
            let built = build_claim(&says_nothing, Some(&bound(there)), Some(&class(true)));
            assert!(built.claim.is_none() && built.note.is_none(), "{there}");
        }
    }

    #[test]
    fn a_home_that_is_not_bound_waits_with_its_growth() {
        let mut unbound = bound("5Gi");
        unbound.status = None;
        assert!(build_claim(&wanted("6Gi", None), Some(&unbound), Some(&class(true))).claim.is_none());
    }
}
