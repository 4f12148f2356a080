//! Condition types of our objects and how a condition changes (Kubernetes API conventions).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object does what its spec asks for.
pub const READY: &str = "Ready";

/// DevServers that name no flavor get this one.
pub const DEFAULT: &str = "Default";

/// A user's role references are bound.
pub const ROLES_BOUND: &str = "RolesBound";

/// All lines of a user's `publicKeys` are used.
pub const KEYS_READABLE: &str = "KeysReadable";

/// No other user has one of a user's `logins`.
pub const LOGINS_UNIQUE: &str = "LoginsUnique";

/// All that a user's `accounts` name can be asked for keys.
pub const ACCOUNTS_KNOWN: &str = "AccountsKnown";

/// A team's members have its volume.
pub const VOLUME_READY: &str = "VolumeReady";

/// The startup script of the container that runs succeeded.
pub const STARTUP_SCRIPT: &str = "StartupScript";

/// Reasons of conditions that somebody goes by, whoever writes them.
pub mod reason {
    /// The pod of a DevServer is what its spec asks for.
    pub const RUNNING: &str = "Running";
    /// The namespace's quota is used up.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// There is no flavor of that name.
    pub const FLAVOR_NOT_FOUND: &str = "FlavorNotFound";
    /// The flavor is not for this user.
    pub const FLAVOR_NOT_ALLOWED: &str = "FlavorNotAllowed";
    /// Nobody knows what the owner may, as her object cannot be read.
    pub const OWNER_UNREADABLE: &str = "OwnerUnreadable";
    /// The owner may have no more.
    pub const LIMIT: &str = "Limit";
    /// A setting cannot be what it is.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// A claim that is to be mounted is not there.
    pub const CLAIM_NOT_FOUND: &str = "ClaimNotFound";
    /// No node has room for the pod.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// The image cannot be had.
    pub const CANNOT_PULL_IMAGE: &str = "CannotPullImage";
    /// A Secret that `env` refers to is not there.
    pub const CANNOT_READ_ENV: &str = "CannotReadEnv";
    /// The image has no such program.
    pub const COMMAND_NOT_FOUND: &str = "CommandNotFound";
    /// The startup script failed, or roles could not be bound.
    pub const FAILED: &str = "Failed";
    /// Members do not have the team's volume yet, and nothing is wrong.
    pub const BINDING: &str = "Binding";
    /// The API server refuses what is asked for.
    pub const REFUSED: &str = "Refused";
}

/// The condition of that type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Sets `new` among `conditions`; the transition time moves only when the status does.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

/// A condition as of `now`.
pub fn condition(
    type_: &str,
    status: bool,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Time,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: now,
    }
}
