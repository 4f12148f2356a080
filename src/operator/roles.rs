//! `spec.roleRefs` of a user → role bindings in her namespace. The API server guards against escalation: it refuses a
//! binding of a role whose rights the operator neither holds nor may `bind`, and that refusal is told.

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};

use crate::api::user::{RoleKind, UserPhase, UserRoleRef};
use crate::api::{DevServerUser, conditions, names};

/// What became of the role references of a user.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// There are none.
    None,
    /// All are bound.
    Bound,
    /// Some are not, and why.
    Refused(Vec<String>),
    /// Nobody knows: the API server did not answer as it should.
    Failed(String),
}

impl Outcome {
    /// Why some are not bound, in a sentence.
    pub(super) fn message(&self) -> Option<String> {
        match self {
            Self::None | Self::Bound => None,
            Self::Refused(reasons) => Some(reasons.join("; ")),
            Self::Failed(why) => Some(format!("the roles of spec.roleRefs could not be put right yet: {why}")),
        }
    }

    /// Puts the condition right.
    pub(super) fn set_condition(&self, all: &mut Vec<Condition>, generation: Option<i64>, now: Time) {
        let (holds, reason) = match self {
            Self::None => return all.retain(|condition| condition.type_ != conditions::ROLES_BOUND),
            Self::Bound => (true, "Bound"),
            Self::Refused(_) => (false, conditions::reason::REFUSED),
            // Until then the condition is also what has these looked at again, of a user who is to have none.
            Self::Failed(_) => (false, conditions::reason::FAILED),
        };
        let message = self.message().unwrap_or_default();
        conditions::set(all, conditions::condition(conditions::ROLES_BOUND, holds, reason, &message, generation, now));
    }
}

/// Binds what the spec lists, and takes back what it lists no more, or all while she is disabled. Users without any
/// cost no call, but for the first look at each spec.
pub(super) async fn bind(client: &Client, user: &DevServerUser) -> Result<Outcome, kube::Error> {
    let wanted = if user.spec.disabled { &[][..] } else { &user.spec.role_refs };
    if wanted.is_empty() && has_none(user) {
        return Ok(Outcome::None);
    }
    let name = user.name_any();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &names::namespace(&name));
    let of_these = format!("{ROLE_REF_LABEL}=true,{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY);
    for bound in bindings.list(&ListParams::default().labels(&of_these)).await? {
        if !wanted.iter().any(|role| binding_name(role) == bound.name_any()) {
            gone(bindings.delete(&bound.name_any(), &DeleteParams::default()).await)?;
        }
    }
    let mut refused = Vec::new();
    for role in wanted {
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        match bindings.patch(&binding_name(role), &params, &Patch::Apply(binding(&name, role))).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
                refused.push(refusal(role, &status));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(match (wanted.is_empty(), refused.is_empty()) {
        (true, _) => Outcome::None,
        (false, true) => Outcome::Bound,
        (false, false) => Outcome::Refused(refused),
    })
}

/// Whether this very spec was looked at to the end, and nothing was bound. A status goes with its user, and with an
/// operator that is killed before it writes it; bindings stay.
fn has_none(user: &DevServerUser) -> bool {
    user.status.as_ref().is_some_and(|status| {
        status.phase == UserPhase::Ready
            && status.observed_generation == user.metadata.generation
            && status.conditions.iter().all(|condition| condition.type_ != conditions::ROLES_BOUND)
    })
}

fn gone<T>(deleted: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

fn binding(user: &str, role: &UserRoleRef) -> RoleBinding {
    let labels = [(names::USER_LABEL, user), (names::MANAGED_BY_LABEL, names::MANAGED_BY), (ROLE_REF_LABEL, "true")];
    RoleBinding {
        metadata: ObjectMeta {
            name: Some(binding_name(role)),
            namespace: Some(names::namespace(user)),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: kind(role).to_owned(),
            name: role.name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: names::service_account(user).to_owned(),
            namespace: Some(names::namespace(user)),
            api_group: None,
        }]),
    }
}

/// The role is in the name, for a binding's role cannot change.
fn binding_name(role: &UserRoleRef) -> String {
    format!("dev-user:{}:{}", kind(role).to_lowercase(), role.name)
}

fn kind(role: &UserRoleRef) -> &'static str {
    match role.kind {
        RoleKind::Role => "Role",
        RoleKind::ClusterRole => "ClusterRole",
    }
}

fn refusal(role: &UserRoleRef, status: &Status) -> String {
    let (kind, name) = (kind(role), &role.name);
    let said = &status.message;
    if status.is_not_found() || said.contains(&format!("\"{name}\" not found")) {
        return format!("{kind} {name} is not bound: it does not exist");
    }
    if let Some((_, rules)) = said.split_once("attempting to grant RBAC permissions not currently held:") {
        let resource = format!("{}s", kind.to_lowercase());
        let rules: Vec<&str> = rules.split('\n').map(str::trim).filter(|rule| !rule.is_empty()).collect();
        return format!(
            "{kind} {name} is not bound: the operator may not hand out {}; to let it, add {name} to the resourceNames of \
             the rule with `bind` on {resource} in ClusterRole bastion-operator",
            rules.join(" ")
        );
    }
    format!("{kind} {name} is not bound: {said}")
}

/// Label of what is bound here, beside the one binding that every user has.
const ROLE_REF_LABEL: &str = "devserver.io/role-ref";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerUserSpec, DevServerUserStatus};

    fn role(kind: RoleKind, name: &str) -> UserRoleRef {
        UserRoleRef { kind, name: name.to_owned() }
    }

    fn told(code: u16, said: &str) -> String {
        refusal(&role(RoleKind::ClusterRole, "trainer"), &Status::failure(said, "Forbidden").with_code(code))
    }

    #[test]
    fn a_binding_is_for_her_account_in_her_namespace() {
        let binding = binding("alice", &role(RoleKind::Role, "a.b"));
        assert_eq!(binding.metadata.name.as_deref(), Some("dev-user:role:a.b"));
        assert_eq!(binding.metadata.namespace.as_deref(), Some("dev-alice"));
        assert_eq!((binding.role_ref.kind.as_str(), binding.role_ref.name.as_str()), ("Role", "a.b"));
        let subject = &binding.subjects.unwrap()[0];
        assert_eq!((subject.name.as_str(), subject.namespace.as_deref()), ("alice", Some("dev-alice")));
    }

    #[test]
    fn what_the_operator_may_not_hand_out_is_told_with_the_rule() {
        let said = "rolebindings.rbac.authorization.k8s.io \"dev-user:clusterrole:trainer\" is forbidden: user \
                    \"system:serviceaccount:bastion:bastion-operator\" (groups=[\"system:authenticated\"]) is attempting to \
                    grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
        assert_eq!(
            told(403, said),
            "ClusterRole trainer is not bound: the operator may not hand out {APIGroups:[\"\"], Resources:[\"secrets\"], \
             Verbs:[\"get\"]}; to let it, add trainer to the resourceNames of the rule with `bind` on clusterroles in \
             ClusterRole bastion-operator"
        );
        let missing = "clusterroles.rbac.authorization.k8s.io \"trainer\" not found";
        assert_eq!(told(404, missing), "ClusterRole trainer is not bound: it does not exist");
        assert_eq!(told(403, "no"), "ClusterRole trainer is not bound: no");
    }

    fn ready(conditions: Vec<Condition>) -> DevServerUser {
        let mut user = DevServerUser::new("alice", DevServerUserSpec::default());
        let status = DevServerUserStatus { phase: UserPhase::Ready, conditions, ..DevServerUserStatus::default() };
        user.status = Some(status);
        user
    }

    #[test]
    fn the_condition_goes_with_the_last_role() {
        let mut all = Vec::new();
        let now = || Time(jiff::Timestamp::UNIX_EPOCH);
        Outcome::Refused(vec!["a".to_owned(), "b".to_owned()]).set_condition(&mut all, Some(1), now());
        assert_eq!((all[0].status.as_str(), all[0].message.as_str()), ("False", "a; b"));
        Outcome::Failed("503".to_owned()).set_condition(&mut all, Some(1), now());
        assert_eq!((all[0].status.as_str(), all[0].reason.as_str()), ("False", "Failed"));
        assert!(!has_none(&ready(all.clone())), "what was bound may be there still");
        Outcome::Bound.set_condition(&mut all, Some(2), now());
        assert_eq!((all.len(), all[0].status.as_str()), (1, "True"));
        Outcome::None.set_condition(&mut all, Some(3), now());
        assert!(all.is_empty() && has_none(&ready(all)));
    }
}
