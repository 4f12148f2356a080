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
pub use flavor::{DevServerFlavor, DevServerFlavorSpec, DevServerFlavorStatus, Schedulable};
pub use history::{LastEnd, StartStep, StepName};
pub use lifecycle::{Idle, IdleAction, Lifecycle, Suspension, SuspensionReason, TimeSpan};
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
    use super::*;

    #[test]
    fn lengths_in_the_schema_are_those_of_names() {
        let rules = crds_yaml();
        assert!(rules.contains(&format!("self.metadata.name.size() <= {}", names::MAX_DEVSERVER_LENGTH)));
        assert!(rules.contains(&format!("self.metadata.name.size() <= {}", names::MAX_USER_LENGTH)));
    }
}
