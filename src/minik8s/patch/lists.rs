//! How the lists of Kubernetes' types merge: whole, as a set, or item by item under keys.

use serde_json::Value;

pub(super) enum ListKind {
    Atomic,
    Set,
    Map(Vec<String>),
}

/// What is known of a value's type: the node of a CRD's schema, or for built-in kinds only the names of their fields.
#[derive(Clone, Copy)]
pub(crate) enum Schema<'a> {
    BuiltIn,
    Custom(&'a Value),
}

impl<'a> Schema<'a> {
    pub(super) fn field(self, name: &str) -> Schema<'a> {
        match self {
            Schema::BuiltIn => Schema::BuiltIn,
            // The API server's own types; a CRD's schema says nothing of them.
            Schema::Custom(_) if name == "metadata" => Schema::BuiltIn,
            Schema::Custom(node) => match &node["properties"][name] {
                Value::Null => Schema::Custom(&node["additionalProperties"]),
                property => Schema::Custom(property),
            },
        }
    }

    pub(super) fn items(self) -> Schema<'a> {
        match self {
            Schema::BuiltIn => Schema::BuiltIn,
            Schema::Custom(node) => Schema::Custom(&node["items"]),
        }
    }

    /// The kind of a list with this schema that stands in the field `name`.
    pub(super) fn list_kind(self, name: &str) -> ListKind {
        match self {
            Schema::BuiltIn => built_in(name),
            Schema::Custom(node) => match node["x-kubernetes-list-type"].as_str() {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map(
                    super::super::object::list(&node["x-kubernetes-list-map-keys"])
                        .iter()
                        .filter_map(|key| key.as_str().map(str::to_owned))
                        .collect(),
                ),
                _ => ListKind::Atomic,
            },
        }
    }

    /// A map that is replaced as a whole.
    pub(super) fn is_atomic_map(self, name: &str) -> bool {
        match self {
            Schema::BuiltIn => {
                matches!(name, "selector" | "nodeSelector" | "secretRef" | "resourceFieldRef" | "fieldRef")
            }
            Schema::Custom(node) => node["x-kubernetes-map-type"] == "atomic",
        }
    }
}

fn built_in(name: &str) -> ListKind {
    let keys: &[&str] = match name {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "ports" => &["containerPort", "port", "protocol"],
        "conditions" => &["type"],
        "ownerReferences" => &["uid"],
        "hostAliases" | "podIPs" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "finalizers" => return ListKind::Set,
        _ => return ListKind::Atomic,
    };
    ListKind::Map(keys.iter().map(|&key| key.to_owned()).collect())
}
