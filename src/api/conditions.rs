//! Condition types of our objects and how a condition changes (Kubernetes API conventions).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object does what its spec asks for.
pub const READY: &str = "Ready";

/// The reason of [`READY`] where a DevServer's pod is what its spec asks for.
pub const RUNNING: &str = "Running";

/// DevServers that name no flavor get this one.
pub const DEFAULT: &str = "Default";

/// A user's role references are bound.
pub const ROLES_BOUND: &str = "RolesBound";

/// A team's members have its volume.
pub const VOLUME_READY: &str = "VolumeReady";

/// The startup script of the container that runs succeeded.
pub const STARTUP_SCRIPT: &str = "StartupScript";

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
