//! The Kubernetes API that bastion adds: group `devserver.io`, version `v1`. Types, names, and how a status is written.

#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

pub mod activity;
pub mod conditions;
pub mod devserver;
pub mod environment;
pub mod flavor;
pub mod history;
pub mod lifecycle;
pub mod names;
pub mod share;
pub mod team;
pub mod team_volume;
pub mod user;
pub mod volume;
mod write_status;

pub use activity::{Activity, GpuUse};
pub use devserver::{DevServer, DevServerSpec, DevServerStatus, Home, Phase, RunAs};
pub use environment::{EnvVar, EnvVarSource, SecretKeyRef};
pub use flavor::{DevServerFlavor, DevServerFlavorSpec, DevServerFlavorStatus, Schedulable, is_device};
pub use history::{LastEnd, StartStep, StepName};
pub use lifecycle::{Idle, IdleAction, IdleRule, Lifecycle, Suspension, SuspensionReason, TimeSpan};
pub use share::Share;
pub use team::{DevServerTeam, DevServerTeamSpec};
pub use team_volume::{DevServerTeamStatus, TeamVolume};
pub use user::{DevServerUser, DevServerUserSpec, DevServerUserStatus};
pub use volume::Volume;
pub use write_status::write_status;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The custom resource definitions, in the order they are printed and installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![DevServer::crd(), DevServerFlavor::crd(), DevServerUser::crd(), DevServerTeam::crd()]
}

/// The custom resource definitions as YAML documents: what `k8s/crds/crds.yaml` holds and `bastion crds` prints.
pub fn crds_yaml() -> String {
    let document = |crd| {
        let yaml = serde_saphyr::to_string(&crd).expect("a definition has string keys and no exotic values");
        format!("---\n{}\n", yaml.trim_end())
    };
    let header = "# Made from src/api by scripts/generate; do not edit.\n".to_owned();
    crds().into_iter().map(document).fold(header, |text, document| text + &document)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Each field of a definition and of what is in it, by its path, with its schema.
    fn fields(schema: &Value, path: &str) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            found.extend(fields(field, &path));
            found.push((path, field.clone()));
        }
        for of_each in ["items", "additionalProperties"].map(|of_each| &schema[of_each]) {
            if of_each.is_object() {
                found.extend(fields(of_each, &format!("{path}[]")));
            }
        }
        found
    }

    /// The versions of all kinds, with the kind.
    fn versions() -> Vec<(String, Value)> {
        let versions = |crd: CustomResourceDefinition| {
            let kind = crd.spec.names.kind;
            crd.spec.versions.into_iter().map(move |version| (kind.clone(), serde_json::to_value(version).unwrap()))
        };
        crds().into_iter().flat_map(versions).collect()
    }

    /// Whether a path is that of a field, or of a key of a map.
    fn leads_somewhere(schema: &Value, path: &str) -> bool {
        let step = |schema: &Value, name: &str| {
            let of_each = &schema["additionalProperties"];
            schema["properties"].get(name).or(of_each.is_object().then_some(of_each)).cloned()
        };
        path.split('.').skip(1).try_fold(schema.clone(), |schema, name| step(&schema, name)).is_some()
    }

    #[test]
    fn every_field_is_documented() {
        for (kind, version) in versions() {
            let fields = fields(&version["schema"]["openAPIV3Schema"], &kind);
            assert!(fields.len() > 10, "{fields:?}");
            let is_silent = |field: &&(String, Value)| field.1["description"].as_str().unwrap_or_default().is_empty();
            let silent: Vec<_> = fields.iter().filter(is_silent).map(|(path, _)| path).collect();
            assert!(silent.is_empty(), "`kubectl explain` tells nothing of {silent:?}");
            let of_the_kind = version["schema"]["openAPIV3Schema"]["description"].as_str().unwrap_or_default();
            let is_ours = !of_the_kind.is_empty() && !of_the_kind.contains("Auto-generated");
            assert!(is_ours, "`kubectl explain` tells of {kind}: {of_the_kind}");
        }
    }

    #[test]
    fn every_column_names_a_field() {
        for (kind, version) in versions() {
            let schema = &version["schema"]["openAPIV3Schema"];
            let columns = version["additionalPrinterColumns"].as_array().unwrap();
            let paths = columns.iter().map(|column| column["jsonPath"].as_str().unwrap());
            // Every object has this one; schemas need not say so.
            let paths = paths.filter(|path| *path != ".metadata.creationTimestamp");
            let nowhere: Vec<_> = paths.filter(|path| !leads_somewhere(schema, path)).collect();
            assert!(nowhere.is_empty(), "columns of {kind} that stay empty: {nowhere:?}");
        }
    }

    #[test]
    fn lengths_in_the_schema_are_those_of_names() {
        let rules = crds_yaml();
        assert!(rules.contains(&format!("self.metadata.name.size() <= {}", names::MAX_DEVSERVER_LENGTH)));
        assert!(rules.contains(&format!("self.metadata.name.size() <= {}", names::MAX_USER_LENGTH)));
    }
}
