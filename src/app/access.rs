//! Checks at the start that the cluster allows what a role will do. A rule that is missing would else show itself
//! late, to a user, as a login that fails.

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use crate::api::names;

/// One permission, in the words of a ClusterRole.
pub(super) struct Rule {
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// The one object that it is about; empty for all.
    name: &'static str,
}

const fn rule(verbs: &'static [&'static str], group: &'static str, resource: &'static str) -> Rule {
    Rule { verbs, group, resource, subresource: "", name: "" }
}

const fn status(verbs: &'static [&'static str], group: &'static str, resource: &'static str) -> Rule {
    Rule { subresource: "status", ..rule(verbs, group, resource) }
}

const BIND: &[&str] = &["bind"];

const APPLY: &[&str] = &["create", "patch"];
const WATCH: &[&str] = &["list", "watch"];
const OWN: &[&str] = &["list", "watch", "create", "patch"];
const OURS: &str = "devserver.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// What `serve` does: watch, provision at a first login, and act for users.
pub(super) const SERVE: &[Rule] = &[
    rule(WATCH, OURS, "devserverusers"),
    rule(WATCH, OURS, "devservers"),
    rule(WATCH, OURS, "devserverteams"),
    rule(APPLY, OURS, "devserverusers"),
    rule(&["get", "create"], OURS, "devservers"),
    status(&["patch"], OURS, "devservers"),
    rule(WATCH, "", "namespaces"),
    rule(APPLY, "", "namespaces"),
    rule(APPLY, "", "serviceaccounts"),
    rule(APPLY, "", "resourcequotas"),
    rule(APPLY, "", "limitranges"),
    rule(APPLY, RBAC, "rolebindings"),
    Rule { name: names::USER_ROLE, ..rule(BIND, RBAC, "clusterroles") },
    rule(APPLY, "networking.k8s.io", "networkpolicies"),
    rule(&["impersonate"], "", "serviceaccounts"),
];

/// What `operator` does.
pub(super) const OPERATE: &[Rule] = &[
    rule(WATCH, OURS, "devserverusers"),
    rule(WATCH, OURS, "devservers"),
    rule(WATCH, OURS, "devserverflavors"),
    rule(&["patch"], OURS, "devservers"),
    rule(WATCH, OURS, "devserverteams"),
    status(&["patch"], OURS, "devservers"),
    status(&["patch"], OURS, "devserverusers"),
    status(&["patch"], OURS, "devserverflavors"),
    status(&["patch"], OURS, "devserverteams"),
    rule(WATCH, "", "nodes"),
    Rule { name: "nodepools.karpenter.sh", ..rule(WATCH, "apiextensions.k8s.io", "customresourcedefinitions") },
    rule(WATCH, "karpenter.sh", "nodepools"),
    rule(&["get", "list", "watch", "create", "delete"], "", "pods"),
    rule(OWN, "", "persistentvolumeclaims"),
    rule(&["list", "watch", "create", "delete"], "", "persistentvolumes"),
    rule(WATCH, "storage.k8s.io", "storageclasses"),
    rule(WATCH, "", "events"),
    rule(APPLY, "events.k8s.io", "events"),
    rule(OWN, "", "namespaces"),
    rule(OWN, "", "serviceaccounts"),
    rule(OWN, "", "resourcequotas"),
    rule(OWN, "", "limitranges"),
    rule(OWN, RBAC, "rolebindings"),
    rule(&["delete"], RBAC, "rolebindings"),
    rule(OWN, RBAC, "roles"),
    rule(&["delete"], RBAC, "roles"),
    Rule { subresource: "exec", ..rule(&["get", "create"], "", "pods") },
    Rule { name: names::USER_ROLE, ..rule(BIND, RBAC, "clusterroles") },
    rule(OWN, "networking.k8s.io", "networkpolicies"),
];

/// Fails with every permission of `rules` that is missing.
pub(super) async fn check(client: &kube::Client, rules: &[Rule]) -> Result<()> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let asked = rules.iter().flat_map(|rule| rule.verbs.iter().map(move |verb| (rule, *verb))).map(|(rule, verb)| {
        let reviews = &reviews;
        async move {
            let answer = reviews.create(&PostParams::default(), &review(rule, verb)).await?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            Ok::<_, kube::Error>((!allowed).then(|| describe(rule, verb)))
        }
    });
    let answers = try_join_all(asked).await.context("failed to ask the cluster what we may do")?;
    let missing: Vec<String> = answers.into_iter().flatten().collect();
    if !missing.is_empty() {
        bail!("the cluster does not allow us to {}; see k8s/base for the rules we need", missing.join(", "));
    }
    Ok(())
}

fn review(rule: &Rule, verb: &str) -> SelfSubjectAccessReview {
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(rule.group.to_owned()),
        resource: Some(rule.resource.to_owned()),
        subresource: (!rule.subresource.is_empty()).then(|| rule.subresource.to_owned()),
        name: (!rule.name.is_empty()).then(|| rule.name.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    SelfSubjectAccessReview { spec, ..Default::default() }
}

fn describe(rule: &Rule, verb: &str) -> String {
    let group = if rule.group.is_empty() { String::new() } else { format!(".{}", rule.group) };
    let subresource = if rule.subresource.is_empty() { String::new() } else { format!("/{}", rule.subresource) };
    let name = if rule.name.is_empty() { String::new() } else { format!(" {}", rule.name) };
    format!("{verb} {}{group}{subresource}{name}", rule.resource)
}
