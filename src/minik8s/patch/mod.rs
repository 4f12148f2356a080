//! What the kinds of patch make of an object. Pure: nothing here knows the store.

mod apply;
mod fields;
mod lists;
mod strategic;
#[cfg(test)]
mod tests;

pub(super) use apply::{Conflict, Manager, apply, track_update};
pub(super) use json_patch::merge;
pub(super) use lists::Schema;
pub(super) use strategic::merge as strategic_merge;
