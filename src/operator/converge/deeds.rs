//! What others do to the objects that the operator made: they delete them, and change fields that are its own. Fields
//! that others add beside stay, on every cluster, so nobody adds any.

use k8s_openapi::api::core::v1::{LimitRange, Namespace, PersistentVolumeClaim, Pod, ResourceQuota, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Resource;
use kube::api::ApiResource;
use serde_json::{Value, json};

use super::dice::Dice;
use super::model::{SERVERS, USERS};
use crate::api::{DevServer, DevServerUser, names};

#[derive(Clone)]
pub(super) struct Deed {
    pub(super) kind: ApiResource,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// None: it is deleted.
    pub(super) change: Option<Value>,
}

impl std::fmt::Debug for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name, change } = self;
        let change = change.as_ref().map_or("deleted".to_owned(), Value::to_string);
        write!(f, "{} {}/{name}: {change}", kind.kind, namespace.as_deref().unwrap_or_default())
    }
}

impl Deed {
    pub(super) fn any(dice: &mut Dice) -> Self {
        let user = dice.one_of(&USERS);
        let server = dice.one_of(&SERVERS);
        let (own, guests, home) = (names::namespace(user), names::guests(server), names::home_claim(server));
        let inside = |kind: ApiResource, name: &str, change: Option<Value>| Self {
            kind,
            namespace: Some(own.clone()),
            name: name.to_owned(),
            change,
        };
        let outside = |kind: ApiResource, name: &str, change: Option<Value>| Self {
            namespace: None,
            ..inside(kind, name, change)
        };
        let without_labels = || Some(json!({ "metadata": { "labels": null } }));
        let deeds = [
            inside(of::<Pod>(), server, None),
            inside(of::<Pod>(), server, Some(json!({ "metadata": { "labels": { (names::MANAGED_BY_LABEL): null } } }))),
            inside(of::<Pod>(), server, Some(json!({ "metadata": { "ownerReferences": null } }))),
            inside(of::<Pod>(), server, Some(json!({ "metadata": { "annotations": null } }))),
            inside(of::<PersistentVolumeClaim>(), &home, None),
            inside(of::<PersistentVolumeClaim>(), &home, without_labels()),
            inside(of::<PersistentVolumeClaim>(), &names::team_claim("blue"), None),
            inside(of::<ServiceAccount>(), user, None),
            inside(of::<ServiceAccount>(), user, Some(json!({ "automountServiceAccountToken": true }))),
            inside(of::<RoleBinding>(), "dev-user", None),
            inside(of::<RoleBinding>(), "dev-user", Some(json!({ "subjects": null }))),
            inside(of::<RoleBinding>(), "dev-user", without_labels()),
            inside(of::<RoleBinding>(), "dev-user:role:trainer", None),
            inside(of::<ResourceQuota>(), "dev-user", None),
            inside(of::<ResourceQuota>(), "dev-user", Some(json!({ "spec": { "hard": { "pods": "99" } } }))),
            inside(of::<LimitRange>(), "dev-user", None),
            inside(of::<LimitRange>(), "dev-user", Some(json!({ "spec": { "limits": [] } }))),
            inside(of::<NetworkPolicy>(), "default-deny", None),
            inside(of::<NetworkPolicy>(), "default-deny", Some(json!({ "spec": { "ingress": [{}] } }))),
            inside(of::<Role>(), &guests, None),
            inside(of::<Role>(), &guests, Some(json!({ "rules": null }))),
            inside(of::<RoleBinding>(), &guests, None),
            inside(of::<RoleBinding>(), &guests, Some(json!({ "subjects": null }))),
            inside(of::<RoleBinding>(), &guests, without_labels()),
            inside(
                of::<DevServer>(),
                server,
                Some(json!({ "status": { "phase": "Failed", "observedGeneration": 0 } })),
            ),
            inside(of::<DevServer>(), server, Some(json!({ "status": null }))),
            outside(of::<DevServerUser>(), user, Some(json!({ "status": { "phase": "Failed" } }))),
            outside(of::<Namespace>(), &own, None),
            outside(
                of::<Namespace>(),
                &own,
                Some(json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } })),
            ),
        ];
        dice.one_of(&deeds)
    }

    /// Statuses have a door of their own.
    pub(super) fn is_of_status(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.get("status").is_some())
    }
}

pub(super) fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}
