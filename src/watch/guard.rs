//! One object of a list or a watch, whatever is in it.

use std::borrow::Cow;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object, or what is known of one that cannot be read.
///
/// kube's own `DeserializeGuard` fails, and with it the whole list, where the metadata cannot be read. Whoever may
/// change an object may write its `managedFields`, and in them points in time that cannot be read. They are left out:
/// nobody here needs them.
#[derive(Clone, Debug)]
pub struct Guard<K>(pub Result<K, Invalid>);

/// An object that cannot be read.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// What is wrong with it.
    pub error: String,
    /// As much of it as can be read; that it has a name is for sure.
    pub metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guard<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Ok(Self(
            K::deserialize(&object)
                .map_err(|error| Invalid { error: error.to_string(), metadata: metadata(&object["metadata"]) }),
        ))
    }
}

fn metadata(value: &Value) -> ObjectMeta {
    ObjectMeta::deserialize(value).unwrap_or_else(|_| {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            // A watch goes on from here.
            resource_version: text("resourceVersion"),
            uid: text("uid"),
            ..ObjectMeta::default()
        }
    })
}

impl<K: Resource> Resource for Guard<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::ObjectList;
    use serde_json::json;

    #[test]
    fn a_list_is_read_whatever_the_metadata_of_one_of_it_says() {
        let pod = |name: &str, more: Value| {
            let mut metadata = json!({ "name": name, "namespace": "dev-alice", "resourceVersion": "7", "uid": "u" });
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "metadata": metadata, "spec": { "containers": [{ "name": "x" }] } })
        };
        let fields = json!({ "managedFields": [{ "manager": "curl", "time": "9999-12-31T00:00:00Z" }] });
        let list = json!({
            "apiVersion": "v1", "kind": "PodList", "metadata": { "resourceVersion": "9" },
            "items": [
                pod("a", json!({})),
                pod("b", fields),
                pod("c", json!({ "creationTimestamp": "2026-01-01T00:00:00+99:99", "labels": { "a": "b" } })),
            ],
        });
        let list: ObjectList<Guard<Pod>> = serde_json::from_value(list).unwrap();
        let [a, b, c] = list.items.as_slice() else { panic!("{list:?}") };
        for pod in [a, b] {
            assert_eq!(pod.0.as_ref().unwrap().spec.as_ref().unwrap().containers[0].name, "x");
        }
        assert!(c.0.is_err());
        let known = ObjectMeta {
            name: Some("c".to_owned()),
            namespace: Some("dev-alice".to_owned()),
            resource_version: Some("7".to_owned()),
            uid: Some("u".to_owned()),
            ..ObjectMeta::default()
        };
        assert_eq!(*c.meta(), known);
    }
}
