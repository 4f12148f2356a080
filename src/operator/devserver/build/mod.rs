//! The objects of a DevServer as they should be. Pure.

mod pod;
mod startup;
mod volume_claim;
mod volumes;

use std::collections::BTreeMap;

#[cfg(test)]
pub(super) use pod::tests::pod as test_pod;
pub(super) use pod::{MadeOf, build_pod, has_agent, is_replaced_by, is_same_template, made_of};
pub(super) use volume_claim::build_claim;

use super::resolve::Resolved;
use crate::api::names;

fn labels(wanted: &Resolved) -> BTreeMap<String, String> {
    [
        (names::USER_LABEL, wanted.user.as_str()),
        (names::DEVSERVER_LABEL, &wanted.name),
        (names::MANAGED_BY_LABEL, names::MANAGED_BY),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}
