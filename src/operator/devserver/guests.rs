//! Who may exec into a DevServer's pod beside its owner: a Role for that one pod, bound to the accounts that stand for
//! those with whom she shares it and who may log in. Who may only look has none: the SSH server shows it to her.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use tracing::info;

use crate::api::{DevServer, Share, names};

const RBAC: &str = "rbac.authorization.k8s.io";

/// What has to change, if anything.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Nothing,
    Grant(Box<(Role, RoleBinding)>),
    Withdraw,
}

/// From the role and the binding there are to what the DevServer's share list says, whatever else of its spec cannot be
/// had: taking back has to work. `may_log_in` tells of users. Pure.
pub(super) fn change(
    server: &DevServer,
    pod: Option<&Pod>,
    role: Option<&Role>,
    binding: Option<&RoleBinding>,
    may_log_in: impl Fn(&str) -> bool,
) -> Change {
    let namespace = server.namespace().unwrap_or_default();
    let owner = names::user_of(&namespace);
    // With one that goes nothing is shared any more, however long something holds it.
    let owner = owner.filter(|_| server.metadata.deletion_timestamp.is_none());
    // Nor by somebody who may not come in herself.
    let owner = owner.filter(|owner| may_log_in(owner));
    // Nor where a guest could act as the owner: what her spec says now may not have replaced the pod yet, or never
    // does.
    let has_token = pod.and_then(|pod| pod.spec.as_ref()?.automount_service_account_token).unwrap_or_default();
    let owner = owner.filter(|_| !has_token && !server.spec.automount_service_account_token);
    let mut guests = owner.map(|owner| guests(&server.spec.share, owner)).unwrap_or_default();
    guests.retain(|user| may_log_in(user));
    let Some(owner) = owner.filter(|_| !guests.is_empty()) else {
        return if role.is_some() || binding.is_some() { Change::Withdraw } else { Change::Nothing };
    };
    let (new_role, new) = build(server, owner, &guests);
    let same_role = role.is_some_and(|old| {
        old.rules == new_role.rules && old.metadata.owner_references == new_role.metadata.owner_references
    });
    let same = binding.is_some_and(|old| {
        old.subjects == new.subjects
            && old.role_ref == new.role_ref
            && old.metadata.owner_references == new.metadata.owner_references
    });
    if same_role && same { Change::Nothing } else { Change::Grant(Box::new((new_role, new))) }
}

/// Users who may work in it, each once and in order.
fn guests<'a>(share: &'a [Share], owner: &str) -> BTreeSet<&'a str> {
    let looks_only: BTreeSet<&str> =
        share.iter().filter(|share| share.read_only).map(|share| share.user.as_str()).collect();
    let users = share.iter().map(|share| share.user.as_str());
    users.filter(|user| *user != owner && !looks_only.contains(user) && names::is_user_name(user)).collect()
}

fn build(server: &DevServer, owner: &str, guests: &BTreeSet<&str>) -> (Role, RoleBinding) {
    let devserver = server.name_any();
    let name = names::guests(&devserver);
    let labels = [
        (names::USER_LABEL, owner),
        (names::DEVSERVER_LABEL, &devserver),
        (names::MANAGED_BY_LABEL, names::MANAGED_BY),
    ];
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        namespace: server.namespace(),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        owner_references: server.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["pods/exec".to_owned()]),
        // The pod has its DevServer's name.
        resource_names: Some(vec![devserver]),
        // A WebSocket exec is authorised as either, which depends on the cluster's version.
        verbs: vec!["get".to_owned(), "create".to_owned()],
        non_resource_urls: None,
    };
    let subject = |user: &&str| Subject {
        kind: "ServiceAccount".to_owned(),
        name: names::guest_account(user),
        namespace: server.namespace(),
        api_group: None,
    };
    let binding = RoleBinding {
        metadata: metadata.clone(),
        role_ref: RoleRef { api_group: RBAC.to_owned(), kind: "Role".to_owned(), name },
        subjects: Some(guests.iter().map(subject).collect()),
    };
    (Role { metadata, rules: Some(vec![rule]) }, binding)
}

/// Makes it so. The role before its binding, and the other way round.
pub(super) async fn apply(client: &Client, server: &DevServer, change: Change) -> kube::Result<()> {
    let (namespace, devserver) = (server.namespace().unwrap_or_default(), server.name_any());
    let roles: Api<Role> = Api::namespaced(client.clone(), &namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &namespace);
    let name = names::guests(&devserver);
    match change {
        Change::Nothing => {}
        Change::Grant(objects) => {
            let (role, binding) = *objects;
            let params = PatchParams::apply(names::OPERATOR_FIELD_MANAGER).force();
            roles.patch(&role.name_any(), &params, &Patch::Apply(&role)).await?;
            let applied = bindings.patch(&name, &params, &Patch::Apply(&binding)).await;
            if is_of_another_role(applied.as_ref().err()) {
                gone(bindings.delete(&name, &DeleteParams::default()).await)?;
                bindings.patch(&name, &params, &Patch::Apply(&binding)).await?;
            } else {
                applied?;
            }
            let guests = binding.subjects.map_or(0, |subjects| subjects.len());
            info!(namespace, devserver, guests, "shared a DevServer");
        }
        Change::Withdraw => withdraw(client, &namespace, &devserver).await?,
    }
    Ok(())
}

/// Takes everything back that guests of `devserver` have.
pub(super) async fn withdraw(client: &Client, namespace: &str, devserver: &str) -> kube::Result<()> {
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let name = names::guests(devserver);
    gone(bindings.delete(&name, &DeleteParams::default()).await)?;
    gone(roles.delete(&name, &DeleteParams::default()).await)?;
    info!(namespace, devserver, "a DevServer is shared no more");
    Ok(())
}

/// Why it could not be shared, for its owner.
pub(super) fn why(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

/// Somebody made a binding of that name for another role, and a binding's role cannot change.
fn is_of_another_role(error: Option<&kube::Error>) -> bool {
    matches!(error, Some(kube::Error::Api(status)) if status.code == 422)
}

fn gone<T>(deleted: kube::Result<T>) -> kube::Result<()> {
    match deleted {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use super::*;
    use crate::api::DevServerSpec;
    use crate::operator::devserver::resolve::tests::server;

    fn share(user: &str, read_only: bool) -> Share {
        Share { user: user.to_owned(), read_only }
    }

    fn change_from(share: Vec<Share>, there: Option<&(Role, RoleBinding)>) -> Change {
        let (role, binding) = there.map(|(role, binding)| (role, binding)).unzip();
        let server = server(DevServerSpec { share, ..DevServerSpec::default() });
        change(&server, None, role, binding, anybody)
    }

    fn anybody(_: &str) -> bool {
        true
    }

    fn granted(share: Vec<Share>) -> (Role, RoleBinding) {
        match change_from(share, None) {
            Change::Grant(objects) => *objects,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn guests_may_exec_into_the_one_pod_and_nothing_else() {
        let (role, binding) = granted(vec![share("carol", false), share("bob", false), share("dave", true)]);
        let rules = role.rules.unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].resources.as_deref(), Some(&["pods/exec".to_owned()][..]));
        assert_eq!(rules[0].resource_names.as_deref(), Some(&["dev".to_owned()][..]));
        assert_eq!(rules[0].verbs, ["get", "create"]);
        assert_eq!(binding.metadata.namespace.as_deref(), Some("dev-alice"));
        assert_eq!((binding.role_ref.kind.as_str(), binding.role_ref.name.as_str()), ("Role", "dev-guests"));
        let subjects = binding.subjects.unwrap();
        let accounts: Vec<_> = subjects.iter().map(|s| (s.namespace.as_deref().unwrap(), s.name.as_str())).collect();
        // Not their own accounts, whose tokens pods of theirs may have.
        assert_eq!(accounts, [("dev-alice", "guest.bob"), ("dev-alice", "guest.carol")]);
        assert_eq!(role.metadata.owner_references.unwrap()[0].uid, "uid-1");
    }

    #[test]
    fn only_a_change_of_guests_changes_anything() {
        let there = granted(vec![share("bob", false)]);
        let from = |share| change_from(share, Some(&there));
        assert_eq!(from(vec![share("bob", false), share("carol", true)]), Change::Nothing);
        assert!(matches!(from(vec![share("carol", false)]), Change::Grant(_)));
        for none in [vec![], vec![share("bob", true)], vec![share("alice", false)]] {
            assert_eq!(from(none), Change::Withdraw);
        }
        assert_eq!(change_from(vec![share("alice", false), share("../x", false)], None), Change::Nothing);

        let bob = || server(DevServerSpec { share: vec![share("bob", false)], ..DevServerSpec::default() });
        let (role, binding) = there;
        let change = |server: &DevServer, pod: Option<&Pod>, role: Option<&Role>, binding: Option<&RoleBinding>| {
            change(server, pod, role, binding, anybody)
        };
        let mut with_token = bob();
        with_token.spec.automount_service_account_token = true;
        assert_eq!(change(&with_token, None, Some(&role), Some(&binding)), Change::Withdraw, "he could act as alice");
        let pod = |automount_service_account_token| Pod {
            spec: Some(PodSpec { automount_service_account_token, ..PodSpec::default() }),
            ..Pod::default()
        };
        let older = pod(Some(true));
        assert_eq!(change(&bob(), Some(&older), None, None), Change::Nothing, "the pod still has the token");
        assert_eq!(change(&bob(), Some(&older), Some(&role), Some(&binding)), Change::Withdraw);
        assert_eq!(change(&bob(), Some(&pod(Some(false))), Some(&role), Some(&binding)), Change::Nothing);
        assert!(matches!(change(&bob(), None, None, Some(&binding)), Change::Grant(_)), "somebody deleted the role");
        assert!(matches!(change(&bob(), None, Some(&role), None), Change::Grant(_)));
        let wider = Role { rules: None, ..role.clone() };
        assert!(matches!(change(&bob(), None, Some(&wider), Some(&binding)), Change::Grant(_)), "somebody changed it");
        assert_eq!(change(&server(DevServerSpec::default()), None, Some(&role), None), Change::Withdraw);
        assert_eq!(
            change_from(vec![share("bob", true), share("bob", false)], None),
            Change::Nothing,
            "in doubt the less"
        );
    }

    #[test]
    fn who_may_not_log_in_has_no_right_meanwhile() {
        let both = || {
            let share = vec![share("bob", false), share("carol", false)];
            server(DevServerSpec { share, ..DevServerSpec::default() })
        };
        let (role, binding) = match change(&both(), None, None, None, anybody) {
            Change::Grant(objects) => *objects,
            other => panic!("{other:?}"),
        };
        let without_bob = change(&both(), None, Some(&role), Some(&binding), |user| user != "bob");
        let Change::Grant(objects) = without_bob else { panic!("{without_bob:?}") };
        let names: Vec<String> = objects.1.subjects.unwrap().into_iter().map(|subject| subject.name).collect();
        assert_eq!(names, ["guest.carol"]);
        assert_eq!(change(&both(), None, Some(&role), Some(&binding), |_| false), Change::Withdraw);
        let disabled_owner = change(&both(), None, Some(&role), Some(&binding), |user| user != "alice");
        assert_eq!(disabled_owner, Change::Withdraw, "who may not come in herself shares nothing");
        assert_eq!(change(&both(), None, None, None, |_| false), Change::Nothing);
    }

    #[test]
    fn what_an_older_operator_bound_is_bound_anew() {
        let (role, mut binding) = granted(vec![share("bob", false)]);
        let his_own = Subject {
            name: "bob".to_owned(),
            namespace: Some("dev-bob".to_owned()),
            ..binding.subjects.unwrap().remove(0)
        };
        binding.subjects = Some(vec![his_own]);
        let there = (role, binding);
        let Change::Grant(objects) = change_from(vec![share("bob", false)], Some(&there)) else { panic!() };
        assert_eq!(objects.1.subjects.unwrap()[0].name, "guest.bob");
    }
}
