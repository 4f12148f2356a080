//! Which kinds are served: a fixed table, and those of the CustomResourceDefinitions that are stored.

use crate::minik8s::{object, patch::Schema, store::Objects};
use serde_json::{Value, json};

pub(crate) const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// `status` is written through its own subresource.
    pub(crate) has_status: bool,
    /// The printer columns of a CRD's version.
    pub(crate) columns: Vec<Value>,
    /// The schema of a CRD's version; null for built-in kinds.
    schema: Value,
}

impl Resource {
    /// The name under which its objects are stored, the same for all versions: `pods`, `devservers.devserver.io`.
    pub(crate) fn storage(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    pub(crate) fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    pub(crate) fn schema(&self) -> Schema<'_> {
        match &self.schema {
            Value::Null => Schema::BuiltIn,
            schema => Schema::Custom(schema),
        }
    }

    pub(crate) fn is_custom(&self) -> bool {
        !self.schema.is_null()
    }

    /// Answered on the spot, never stored.
    pub(crate) fn is_review(&self) -> bool {
        self.group == "authorization.k8s.io"
    }
}

pub(crate) fn group_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

/// All that is served, built-in kinds first.
pub(crate) fn all(objects: &Objects) -> Vec<Resource> {
    let custom = objects.list(CRDS, "").flat_map(|crd| custom(crd));
    BUILT_IN.iter().map(built_in).chain(custom).collect()
}

pub(crate) fn find(objects: &Objects, group: &str, version: &str, plural: &str) -> Option<Resource> {
    let found =
        |resource: &Resource| resource.group == group && resource.version == version && resource.plural == plural;
    let row = |row: &&Row| row.0 == group && row.1 == version && row.2 == plural;
    match BUILT_IN.iter().find(row) {
        Some(row) => Some(built_in(row)),
        None => objects
            .get(&crate::minik8s::store::Key::new(CRDS, "", &format!("{plural}.{group}")))
            .and_then(|crd| custom(crd).into_iter().find(found)),
    }
}

/// A built-in kind that the cluster's own parts write.
pub(crate) fn built_in_named(storage: &str) -> Resource {
    BUILT_IN
        .iter()
        .map(built_in)
        .find(|resource| resource.storage() == storage)
        .expect("asked for by constant names only")
}

fn custom(crd: &Value) -> Vec<Resource> {
    let spec = &crd["spec"];
    let names = &spec["names"];
    let texts = |value: &Value| {
        let texts = object::list(value).iter();
        texts.map(|text| object::text(text).to_owned()).collect()
    };
    object::list(&spec["versions"])
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| Resource {
            group: object::text(&spec["group"]).to_owned(),
            version: object::text(&version["name"]).to_owned(),
            plural: object::text(&names["plural"]).to_owned(),
            singular: match object::text(&names["singular"]) {
                "" => object::text(&names["kind"]).to_lowercase(),
                singular => singular.to_owned(),
            },
            kind: object::text(&names["kind"]).to_owned(),
            short_names: texts(&names["shortNames"]),
            categories: texts(&names["categories"]),
            namespaced: spec["scope"] == "Namespaced",
            has_status: version["subresources"]["status"].is_object(),
            columns: object::list(&version["additionalPrinterColumns"]).to_vec(),
            schema: match &version["schema"]["openAPIV3Schema"] {
                Value::Null => json!({}),
                schema => schema.clone(),
            },
        })
        .collect()
}

fn built_in(row: &Row) -> Resource {
    let &(group, version, plural, kind, short_names, namespaced, has_status) = row;
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        kind: kind.to_owned(),
        short_names: short_names.split_whitespace().map(str::to_owned).collect(),
        categories: match plural {
            "pods" | "services" => vec!["all".to_owned()],
            _ => Vec::new(),
        },
        namespaced,
        has_status,
        columns: Vec::new(),
        schema: Value::Null,
    }
}

/// Group, version, plural, kind, short names, namespaced, has a status subresource.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, bool, bool);

const RBAC: &str = "rbac.authorization.k8s.io";

#[rustfmt::skip]
const BUILT_IN: &[Row] = &[
    ("", "v1", "namespaces", "Namespace", "ns", false, true),
    ("", "v1", "nodes", "Node", "no", false, true),
    ("", "v1", "pods", "Pod", "po", true, true),
    ("", "v1", "persistentvolumes", "PersistentVolume", "pv", false, true),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", true, true),
    ("", "v1", "serviceaccounts", "ServiceAccount", "sa", true, false),
    ("", "v1", "secrets", "Secret", "", true, false),
    ("", "v1", "configmaps", "ConfigMap", "cm", true, false),
    ("", "v1", "events", "Event", "ev", true, false),
    ("", "v1", "services", "Service", "svc", true, true),
    ("", "v1", "resourcequotas", "ResourceQuota", "quota", true, true),
    ("", "v1", "limitranges", "LimitRange", "limits", true, false),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", "crd crds", false, true),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", "", false, false),
    ("coordination.k8s.io", "v1", "leases", "Lease", "", true, false),
    ("events.k8s.io", "v1", "events", "Event", "ev", true, false),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol", true, false),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", true, true),
    (RBAC, "v1", "roles", "Role", "", true, false),
    (RBAC, "v1", "rolebindings", "RoleBinding", "", true, false),
    (RBAC, "v1", "clusterroles", "ClusterRole", "", false, false),
    (RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", "", false, false),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", "sc", false, false),
];
