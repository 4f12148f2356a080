//! The objects of a user's namespace, as they should be. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec, ServiceAccount,
};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::{Config, PodSecurity};
use crate::api::{DevServer, DevServerSpec, DevServerUser, names};

/// The server that a user gets at her first login, of what her object says about it.
pub fn default_devserver(user: &DevServerUser, name: &str) -> DevServer {
    let user_name = user.name_any();
    let defaults = user.spec.dev_server.clone().unwrap_or_default();
    DevServer {
        metadata: ObjectMeta { labels: Some(labels(&user_name)), ..named(name, Some(&names::namespace(&user_name))) },
        spec: DevServerSpec {
            flavor: defaults.flavor,
            image: defaults.image,
            home: defaults.home,
            ..DevServerSpec::default()
        },
        status: None,
    }
}

/// What limits a container of `user`'s that names no limits.
pub fn container_limits(user: Option<&DevServerUser>, config: &Config) -> BTreeMap<String, Quantity> {
    let own = user.and_then(|user| user.spec.quotas.as_ref()?.limit_range.clone());
    let of_containers = own.unwrap_or_else(|| limit_range(config)).limits.into_iter();
    of_containers
        .filter(|item| item.type_ == "Container")
        // Where only the most is said, that is the API server's default.
        .flat_map(|item| item.max.into_iter().chain(item.default).flatten())
        .collect()
}

pub(super) fn namespace(user: &str, config: &Config) -> Namespace {
    let mut labels = labels(user);
    let level = match config.pod_security {
        PodSecurity::Privileged => "privileged",
        PodSecurity::Baseline => "baseline",
        PodSecurity::Restricted => "restricted",
    };
    labels.insert("pod-security.kubernetes.io/enforce".to_owned(), level.to_owned());
    Namespace {
        metadata: ObjectMeta { labels: Some(labels), ..named(&names::namespace(user), None) },
        ..Namespace::default()
    }
}

/// Everything in a user's namespace but her DevServers.
pub(super) struct Contents {
    pub(super) service_account: ServiceAccount,
    pub(super) role_binding: RoleBinding,
    pub(super) resource_quota: ResourceQuota,
    pub(super) limit_range: LimitRange,
    pub(super) network_policy: NetworkPolicy,
}

pub(super) fn contents(user: &DevServerUser, config: &Config) -> Contents {
    let name = user.name_any();
    let quotas = user.spec.quotas.clone().unwrap_or_default();
    Contents {
        service_account: service_account(&name),
        role_binding: role_binding(user),
        resource_quota: ResourceQuota {
            metadata: in_namespace(LIMITS, &name),
            spec: Some(quotas.resource_quota.unwrap_or_else(|| resource_quota(config))),
            status: None,
        },
        limit_range: LimitRange {
            metadata: in_namespace(LIMITS, &name),
            spec: Some(quotas.limit_range.unwrap_or_else(|| limit_range(config))),
        },
        network_policy: network_policy(&name, config),
    }
}

fn service_account(user: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: in_namespace(names::service_account(user), user),
        // The account is what the bastion acts as; what runs in the pod has no business with the API server.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// While she is disabled it is nobody's: a program that she left in a pod may have her account's token.
fn role_binding(user: &DevServerUser) -> RoleBinding {
    let name = user.name_any();
    let account = Subject {
        kind: "ServiceAccount".to_owned(),
        name: names::service_account(&name).to_owned(),
        namespace: Some(names::namespace(&name)),
        api_group: None,
    };
    RoleBinding {
        metadata: in_namespace(names::USER_ROLE, &name),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: names::USER_ROLE.to_owned(),
        },
        subjects: Some(if user.spec.disabled { Vec::new() } else { vec![account] }),
    }
}

fn resource_quota(config: &Config) -> ResourceQuotaSpec {
    ResourceQuotaSpec { hard: Some(config.quota.clone()), ..ResourceQuotaSpec::default() }
}

fn limit_range(config: &Config) -> LimitRangeSpec {
    LimitRangeSpec {
        limits: vec![LimitRangeItem {
            type_: "Container".to_owned(),
            default: Some(config.container_limits.clone()),
            default_request: Some(config.container_requests.clone()),
            ..LimitRangeItem::default()
        }],
    }
}

/// In: from the user's own pods alone, on every port: ranks of a training find each other on ports of their choice.
/// Out: everywhere. Work needs package indexes, model hubs, object stores, license servers and the cluster's DNS;
/// a list of them would be a list of complaints. But not to the metadata service of the cloud: whoever
/// reaches it is the node, with the rights of the node.
fn network_policy(user: &str, config: &Config) -> NetworkPolicy {
    let any_pod = LabelSelector::default();
    let own_pods = NetworkPolicyPeer { pod_selector: Some(any_pod.clone()), ..NetworkPolicyPeer::default() };
    // Some networks count pods to no address range, so the cluster's own pods are named beside the ranges.
    let cluster = NetworkPolicyPeer { namespace_selector: Some(any_pod.clone()), ..NetworkPolicyPeer::default() };
    let but_blocked = |all: &str, six: bool| {
        let except: Vec<String> =
            config.blocked_egress.iter().filter(|cidr| cidr.contains(':') == six).cloned().collect();
        NetworkPolicyPeer {
            ip_block: Some(IPBlock { cidr: all.to_owned(), except: (!except.is_empty()).then_some(except) }),
            ..NetworkPolicyPeer::default()
        }
    };
    NetworkPolicy {
        metadata: in_namespace("default-deny", user),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(any_pod),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: Some(vec![own_pods]), ports: None }]),
            egress: Some(vec![NetworkPolicyEgressRule {
                to: Some(vec![but_blocked("0.0.0.0/0", false), but_blocked("::/0", true), cluster]),
                ports: None,
            }]),
        }),
    }
}

fn in_namespace(name: &str, user: &str) -> ObjectMeta {
    ObjectMeta { labels: Some(labels(user)), ..named(name, Some(&names::namespace(user))) }
}

fn named(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: namespace.map(str::to_owned), ..ObjectMeta::default() }
}

fn labels(user: &str) -> BTreeMap<String, String> {
    [(names::USER_LABEL, user), (names::MANAGED_BY_LABEL, names::MANAGED_BY)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Name of the ResourceQuota and of the LimitRange; refusals of the API server quote it.
const LIMITS: &str = "dev-user";

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;
    use crate::api::user::{DevServerDefaults, Quotas};
    use crate::api::{DevServerUserSpec, Home};

    fn alice(spec: DevServerUserSpec) -> DevServerUser {
        DevServerUser::new("alice", spec)
    }

    #[test]
    fn namespace_enforces_pod_security_and_names_its_user() {
        let namespace = namespace("alice", &config());
        let labels = namespace.metadata.labels.unwrap();
        assert_eq!(namespace.metadata.name.as_deref(), Some("dev-alice"));
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "baseline");
        assert_eq!(labels["devserver.io/user"], "alice");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "bastion");
    }

    #[test]
    fn rights_are_the_users_alone_and_in_her_namespace_alone() {
        let contents = contents(&alice(DevServerUserSpec::default()), &config());
        assert_eq!(contents.service_account.automount_service_account_token, Some(false));
        let subjects = contents.role_binding.subjects.unwrap();
        assert_eq!(contents.role_binding.metadata.namespace.as_deref(), Some("dev-alice"));
        assert_eq!(contents.role_binding.role_ref.name, "dev-user");
        assert_eq!(subjects.len(), 1);
        assert_eq!((subjects[0].name.as_str(), subjects[0].namespace.as_deref()), ("alice", Some("dev-alice")));
        let disabled = alice(DevServerUserSpec { disabled: true, ..DevServerUserSpec::default() });
        assert_eq!(role_binding(&disabled).subjects, Some(Vec::new()), "nobody's, meanwhile");
    }

    #[test]
    fn limits_are_the_configurations_until_the_user_has_her_own() {
        let hard = |user: &DevServerUser| contents(user, &config()).resource_quota.spec.unwrap().hard.unwrap();
        assert_eq!(hard(&alice(DevServerUserSpec::default()))["pods"].0, "20");

        let own = ResourceQuotaSpec {
            hard: Some([("pods".to_owned(), Quantity("3".to_owned()))].into()),
            ..ResourceQuotaSpec::default()
        };
        let user = alice(DevServerUserSpec {
            quotas: Some(Quotas { resource_quota: Some(own), limit_range: None }),
            ..DevServerUserSpec::default()
        });
        assert_eq!(hard(&user), [("pods".to_owned(), Quantity("3".to_owned()))].into());
        let limits = contents(&user, &config()).limit_range.spec.unwrap().limits;
        assert_eq!(limits[0].default.as_ref().unwrap()["cpu"].0, "2");
    }

    #[test]
    fn what_limits_a_container_is_said_by_the_configuration_or_by_her_own_limit_range() {
        let limits = |range: Option<serde_json::Value>| {
            let limit_range = range.map(|limits| serde_json::from_value(limits).unwrap());
            let quotas = Some(Quotas { resource_quota: None, limit_range });
            let user = alice(DevServerUserSpec { quotas, ..DevServerUserSpec::default() });
            serde_json::to_value(container_limits(Some(&user), &config())).unwrap()
        };
        let configured = serde_json::json!({ "cpu": "2", "memory": "2Gi" });
        assert_eq!(serde_json::to_value(container_limits(None, &config())).unwrap(), configured);
        assert_eq!(limits(None), configured);
        let own = serde_json::json!({ "limits": [
            { "type": "Pod", "max": { "cpu": "64" } },
            { "type": "Container", "max": { "cpu": "8", "memory": "64Gi" }, "default": { "memory": "4Gi" } },
        ] });
        assert_eq!(limits(Some(own)), serde_json::json!({ "cpu": "8", "memory": "4Gi" }));
    }

    #[test]
    fn network_is_closed_inwards_and_the_metadata_service_is_out_of_reach() {
        let spec = network_policy("alice", &config()).spec.unwrap();
        let from = spec.ingress.unwrap().remove(0).from.unwrap();
        assert_eq!(from.len(), 1);
        assert!(from[0].pod_selector.is_some() && from[0].namespace_selector.is_none() && from[0].ip_block.is_none());

        let to = spec.egress.unwrap().remove(0).to.unwrap();
        let blocks: Vec<&IPBlock> = to.iter().filter_map(|peer| peer.ip_block.as_ref()).collect();
        let (metadata, azures) = ("169.254.169.254/32".to_owned(), "168.63.129.16/32".to_owned());
        assert!(blocks[0].except.as_ref().is_some_and(|except| except.contains(&metadata) && except.contains(&azures)));
        assert_eq!(blocks[1].except.as_deref(), Some(&["fd00:ec2::254/128".to_owned()][..]));
    }

    #[test]
    fn default_devserver_takes_what_the_user_object_says() {
        let user = alice(DevServerUserSpec {
            dev_server: Some(DevServerDefaults {
                flavor: Some("gpu-1".to_owned()),
                image: None,
                home: Some(Home { size: Some(Quantity("1Gi".to_owned())), ..Home::default() }),
            }),
            ..DevServerUserSpec::default()
        });
        let server = default_devserver(&user, "dev");
        assert_eq!(server.metadata.namespace.as_deref(), Some("dev-alice"));
        assert_eq!(server.spec.flavor.as_deref(), Some("gpu-1"));
        assert_eq!(server.spec.home.unwrap().size.unwrap().0, "1Gi");
        assert_eq!(server.metadata.labels.unwrap()["devserver.io/user"], "alice");
    }
}
