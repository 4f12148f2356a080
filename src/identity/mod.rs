//! Who is this? A login name and a proven key or certificate → an [`Identity`].

mod address;
mod authenticator;
mod authorized_key;
mod certificate;
mod config;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod key_file;
mod lapse;
mod options;
mod permissions;
mod permits;
mod refusal;
mod registry;
mod revoked;
mod sources;
mod unusable;

pub(crate) use address::match_wildcards;
pub use authenticator::{Authenticator, Credential, Identity, OwnedCredential};
pub use config::Config;
pub use lapse::Lapse;
pub use permissions::Permissions;
pub use permits::{Permits, Way};
pub use refusal::Refusal;
pub(crate) use unusable::{is_unusable_account, short, unusable_keys};
