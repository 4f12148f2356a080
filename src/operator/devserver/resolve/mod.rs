//! A DevServer's spec, its flavor and the configuration, read into what to build. Pure.

mod environment;
pub(super) mod flavor;
mod home;
mod invalid;
mod namespace;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

pub(super) use self::invalid::Invalid;
use crate::api::devserver::MAX_STARTUP_SCRIPT;
use crate::api::{self, DevServer, DevServerFlavor, DevServerSpec, Lifecycle, RunAs, TimeSpan, Volume, names};
use crate::operator::quantity::value;
use crate::operator::{AgentConfig, Config};

#[cfg(test)]
pub(super) use namespace::tests::terms as test_terms;
pub(super) use namespace::{Terms, fit};

/// What a DevServer comes to, with nothing left open.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) user: String,
    pub(super) owner: OwnerReference,
    pub(super) image: String,
    pub(super) command: Option<Vec<String>>,
    pub(super) env: Vec<EnvVar>,
    /// Size of `/dev/shm`; without one it is the container runtime's own.
    pub(super) shm: Option<Quantity>,
    /// Beside the home; no two at one path.
    pub(super) volumes: Vec<Volume>,
    /// Whether those of the owner's teams are mounted, named or not.
    pub(super) has_team_volumes: bool,
    /// Whom the container runs as, and whether its programs may gain rights.
    pub(super) user_in_pod: RunAs,
    /// Whether its containers have to be such as Pod Security `restricted` lets in.
    pub(super) is_restricted: bool,
    /// What runs before anybody is let in.
    pub(super) startup_script: Option<String>,
    /// Whether what runs in the pod may act as its owner's account.
    pub(super) has_token: bool,
    /// What brings the agent.
    pub(super) agent: Option<AgentConfig>,
    pub(super) home: ResolvedHome,
    pub(super) flavor: ResolvedFlavor,
    /// What of the spec shapes the pod, as its owner wrote it.
    pub(super) wishes: Wishes,
}

#[derive(Clone, Debug)]
pub(super) struct ResolvedHome {
    pub(super) volume: HomeVolume,
    pub(super) mount_path: String,
    pub(super) group: i64,
}

/// Where a home is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HomeVolume {
    /// In a claim of the DevServer's own.
    Own { size: HomeSize, storage_class: Option<String> },
    /// In a claim that somebody else made.
    Existing(String),
    /// Nowhere: it goes with the pod.
    Ephemeral,
}

/// How large a home is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HomeSize {
    /// As its owner says.
    Asked(Quantity),
    /// She does not say: this, where there is none yet.
    Default(Quantity),
}

/// Without a flavor: nothing, so that the namespace's LimitRange sizes the pod.
#[derive(Clone, Debug, Default)]
pub(super) struct ResolvedFlavor {
    pub(super) name: Option<String>,
    pub(super) resources: ResourceRequirements,
    pub(super) node_selector: BTreeMap<String, String>,
    pub(super) tolerations: Vec<Toleration>,
    pub(super) runtime_class_name: Option<String>,
    /// For how long a DevServer of it may run.
    pub(super) time_limit: Option<Duration>,
    volumes: Vec<Volume>,
}

/// The owner's own words: when they change the pod is replaced, even a running one. What she does not say is left out,
/// so that a field that this program learns does not replace the pods of those who do not use it.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Wishes {
    flavor: Option<String>,
    image: Option<String>,
    command: Option<Vec<String>>,
    mount_path: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<api::EnvVar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shm: Option<Quantity>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<Volume>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    without_team_volumes: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<RunAs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    startup_script: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_token: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    existing_claim: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ephemeral: bool,
}

pub(super) fn resolve(
    server: &DevServer,
    flavors: &[Arc<DevServerFlavor>],
    config: &Config,
) -> Result<Resolved, Invalid> {
    let name = server.name_any();
    if !names::is_devserver_name(&name) {
        return Err(Invalid::Name(name));
    }
    let namespace = server.namespace().unwrap_or_default();
    let user = match names::user_of(&namespace) {
        Some(user) => user.to_owned(),
        None => return Err(Invalid::Namespace(namespace)),
    };
    let DevServerSpec {
        flavor,
        image,
        home,
        command,
        env,
        shm,
        volumes,
        mount_team_volumes,
        user: run_as,
        startup_script,
        automount_service_account_token: has_token,
        lifecycle,
        share,
    } = server.spec.clone();
    if command.as_ref().is_some_and(|argv| argv.first().is_none_or(String::is_empty)) {
        return Err(Invalid::Command);
    }
    if has_token && share.iter().any(|guest| !guest.read_only) {
        return Err(Invalid::SharedToken);
    }
    check_spans(lifecycle.unwrap_or_default())?;
    let home = home.unwrap_or_default();
    let has_team_volumes = mount_team_volumes.unwrap_or(true);
    let wishes = Wishes {
        flavor: flavor.clone(),
        image: image.clone(),
        command: command.clone(),
        mount_path: home.mount_path.clone(),
        env: env.clone(),
        shm: shm.clone(),
        volumes: volumes.clone(),
        without_team_volumes: !has_team_volumes,
        user: run_as.clone(),
        startup_script: startup_script.clone(),
        has_token,
        existing_claim: home.existing_claim.clone(),
        ephemeral: home.ephemeral,
    };
    let user_in_pod = resolve_run_as(run_as)?;
    let home = home::resolve(home, config)?;
    let flavor = flavor::resolve(flavor, flavors, &user)?;
    Ok(Resolved {
        namespace,
        name,
        user,
        owner: server.controller_owner_ref(&()).unwrap_or_default(),
        image: image.unwrap_or_else(|| config.image.clone()),
        command,
        env: environment::resolve(env)?,
        shm: resolve_shm(shm)?,
        volumes: volumes::resolve(volumes, &flavor.volumes, &home.mount_path)?,
        has_team_volumes,
        user_in_pod,
        is_restricted: false,
        startup_script: resolve_startup_script(startup_script, config)?,
        has_token,
        agent: Some(config.agent.clone()).filter(|agent| !agent.image.is_empty()),
        home,
        flavor,
        wishes,
    })
}

/// What nobody wishes is a matter of what limits the memory.
fn resolve_shm(wish: Option<Quantity>) -> Result<Option<Quantity>, Invalid> {
    let Some(size) = wish else { return Ok(None) };
    match value(&size) {
        None => Err(Invalid::Shm(size.0)),
        Some(0.0) => Ok(None),
        Some(_) => Ok(Some(size)),
    }
}

/// One that cannot be counted would be taken for none.
fn check_spans(lifecycle: Lifecycle) -> Result<(), Invalid> {
    let Lifecycle { time_to_live, idle, suspended: _, extended_until: _, snoozed_until: _ } = lifecycle;
    for (field, span) in [("timeToLive", time_to_live), ("idle.after", idle.and_then(|idle| idle.after))] {
        if let Some(TimeSpan(span)) = span.filter(|span| span.get().is_none()) {
            return Err(Invalid::TimeSpan { field, span });
        }
    }
    Ok(())
}

fn resolve_run_as(run_as: Option<RunAs>) -> Result<RunAs, Invalid> {
    let RunAs { uid, gid, sudo } = run_as.unwrap_or_default();
    for (name, number) in [("uid", uid), ("gid", gid)] {
        if number.is_some_and(|number| !(0..=i64::from(i32::MAX)).contains(&number)) {
            return Err(Invalid::RunAs(name));
        }
    }
    Ok(RunAs { uid, gid, sudo })
}

fn resolve_startup_script(script: Option<String>, config: &Config) -> Result<Option<String>, Invalid> {
    match &script {
        Some(text) if text.len() > MAX_STARTUP_SCRIPT => Err(Invalid::StartupScript("is longer than 64 KiB")),
        Some(_) if config.agent.image.is_empty() => {
            Err(Invalid::StartupScript("needs the agent; ask your administrator to set operator.agent"))
        }
        _ => Ok(script),
    }
}

/// The schema says the same; not every API server looks at it.
pub(super) fn can_mount(path: &str) -> bool {
    let Some(relative) = path.strip_prefix('/') else { return false };
    let parts = || relative.split('/');
    parts().all(|part| !matches!(part, "" | "." | "..") && !part.contains(':'))
        && !matches!(parts().next(), Some("proc" | "sys" | "dev" | ".bastion"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::{DevServerFlavorSpec, Home};
    use crate::operator::tests::config;
    use kube::api::ObjectMeta;

    pub(in crate::operator::devserver) fn server(spec: DevServerSpec) -> DevServer {
        DevServer {
            metadata: ObjectMeta {
                name: Some("dev".to_owned()),
                namespace: Some("dev-alice".to_owned()),
                uid: Some("uid-1".to_owned()),
                generation: Some(3),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        }
    }

    pub(in crate::operator::devserver) fn flavor(name: &str, default: bool) -> Arc<DevServerFlavor> {
        let cpu = || Some([("cpu".to_owned(), Quantity("4".to_owned()))].into());
        Arc::new(DevServerFlavor::new(
            name,
            DevServerFlavorSpec {
                resources: ResourceRequirements { limits: cpu(), requests: cpu(), claims: None },
                node_selector: [("pool".to_owned(), name.to_owned())].into(),
                default,
                ..DevServerFlavorSpec::default()
            },
        ))
    }

    #[test]
    fn an_empty_spec_is_the_configuration() {
        let resolved = resolve(&server(DevServerSpec::default()), &[], &config()).unwrap();
        assert_eq!(resolved.user, "alice");
        assert_eq!(resolved.image, "ubuntu:24.04");
        let size = HomeSize::Default(Quantity("10Gi".to_owned()));
        assert_eq!(resolved.home.volume, HomeVolume::Own { size, storage_class: None });
        assert_eq!(resolved.home.mount_path, "/home/dev");
        assert_eq!(resolved.owner.uid, "uid-1");
        assert_eq!(resolved.flavor.resources, ResourceRequirements::default());
    }

    #[test]
    fn the_first_default_flavor_by_name_is_taken() {
        let flavors = [flavor("c", true), flavor("b", true), flavor("a", false)];
        let resolved = resolve(&server(DevServerSpec::default()), &flavors, &config()).unwrap();
        assert_eq!(resolved.flavor.node_selector["pool"], "b");
    }

    #[test]
    fn a_missing_flavor_is_told_with_those_that_exist() {
        let wants = |flavors: &[Arc<DevServerFlavor>]| {
            let spec = DevServerSpec { flavor: Some("huge".to_owned()), ..DevServerSpec::default() };
            resolve(&server(spec), flavors, &config()).unwrap_err().to_string()
        };
        assert_eq!(wants(&[flavor("b", false), flavor("a", false)]), r#"there is no flavor "huge"; there are: a, b"#);
        assert_eq!(wants(&[]), r#"there is no flavor "huge"; there are none"#);
    }

    #[test]
    fn a_token_is_not_shared() {
        let with = |has_token, read_only| {
            let guest = api::Share { user: "bob".to_owned(), read_only };
            let spec =
                DevServerSpec { automount_service_account_token: has_token, share: vec![guest], ..Default::default() };
            resolve(&server(spec), &[], &config()).map(|resolved| resolved.has_token)
        };
        assert_eq!(with(true, false), Err(Invalid::SharedToken));
        assert_eq!(with(true, true), Ok(true), "who only looks runs nothing");
        assert_eq!(with(false, false), Ok(false));
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        let at = |path: &str| DevServerSpec {
            home: Some(Home { mount_path: Some(path.to_owned()), ..Home::default() }),
            ..DevServerSpec::default()
        };
        for path in ["home", "/", "/a/../b", "/a//b", "/a/", "/proc", "/dev/shm", "/a:b", ""] {
            let error = resolve(&server(at(path)), &[], &config()).unwrap_err();
            assert_eq!(error, Invalid::MountPath(path.to_owned()));
        }
        for path in ["/home/dev", "/root", "/w..x", "/home/dev.d/x"] {
            assert!(resolve(&server(at(path)), &[], &config()).is_ok(), "{path}");
        }
        for command in [vec![], vec![String::new()]] {
            let spec = DevServerSpec { command: Some(command), ..DevServerSpec::default() };
            assert_eq!(resolve(&server(spec), &[], &config()).unwrap_err(), Invalid::Command);
        }
        for shm in ["-1Gi", "much"] {
            let spec = DevServerSpec { shm: Some(Quantity(shm.to_owned())), ..DevServerSpec::default() };
            assert_eq!(resolve(&server(spec), &[], &config()).unwrap_err(), Invalid::Shm(shm.to_owned()));
        }
        for lifecycle in [
            serde_json::json!({ "timeToLive": "9999999999999999999d" }),
            serde_json::json!({ "idle": { "after": "9999999999999999999d", "action": "Suspend" } }),
        ] {
            let lifecycle = serde_json::from_value(lifecycle).unwrap();
            let spec = DevServerSpec { lifecycle: Some(lifecycle), ..DevServerSpec::default() };
            let told = resolve(&server(spec), &[], &config()).unwrap_err().to_string();
            assert!(told.starts_with("lifecycle.") && told.ends_with("too long to be counted"), "{told}");
        }
        let mut elsewhere = server(DevServerSpec::default());
        elsewhere.metadata.namespace = Some("default".to_owned());
        assert_eq!(resolve(&elsewhere, &[], &config()).unwrap_err(), Invalid::Namespace("default".to_owned()));
        let mut dotted = server(DevServerSpec::default());
        dotted.metadata.name = Some("a.b".to_owned());
        assert_eq!(resolve(&dotted, &[], &config()).unwrap_err(), Invalid::Name("a.b".to_owned()));
    }
}
