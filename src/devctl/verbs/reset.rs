//! `devctl update --reset`: back to what a DevServer has that says nothing.

use clap::ValueEnum;

use crate::api::{DevServerSpec, Home, RunAs};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Setting {
    Flavor,
    Image,
    Command,
    TeamVolumes,
    HomeSize,
    HomePath,
    ShmSize,
    User,
    Sudo,
    ServiceAccountToken,
    StartupScript,
    Time,
    IdleAfter,
    WhenIdle,
}

impl Setting {
    pub(super) fn reset(self, spec: &mut DevServerSpec) {
        let home = spec.home.as_mut();
        let lifecycle = spec.lifecycle.as_mut();
        match self {
            Self::Flavor => spec.flavor = None,
            Self::Image => spec.image = None,
            Self::Command => spec.command = None,
            Self::TeamVolumes => spec.mount_team_volumes = None,
            Self::HomeSize => clear(home, |home| home.size = None),
            Self::HomePath => clear(home, |home| home.mount_path = None),
            Self::ShmSize => spec.shm = None,
            Self::User => clear(spec.user.as_mut(), |user| (user.uid, user.gid) = (None, None)),
            Self::Sudo => clear(spec.user.as_mut(), |user| user.sudo = None),
            Self::ServiceAccountToken => spec.automount_service_account_token = false,
            Self::StartupScript => spec.startup_script = None,
            Self::Time => clear(lifecycle, |lifecycle| lifecycle.time_to_live = None),
            Self::IdleAfter => clear(lifecycle.and_then(|it| it.idle.as_mut()), |idle| idle.after = None),
            Self::WhenIdle => clear(lifecycle.and_then(|it| it.idle.as_mut()), |idle| idle.action = Default::default()),
        }
        // A pod whose user is said to be nobody in particular would be another pod.
        spec.user.take_if(|user| *user == RunAs::default());
        spec.home.take_if(|home| *home == Home::default());
    }
}

fn clear<T>(part: Option<&mut T>, clear: impl FnOnce(&mut T)) {
    if let Some(part) = part {
        clear(part);
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::tests::settings;
    use super::*;

    #[test]
    fn each_setting_has_a_way_back() {
        let words = [
            "--flavor=a",
            "--image=b",
            "--team-volumes=false",
            "--home-size=1Gi",
            "--home-path=/h",
            "--shm-size=1Gi",
            "--user=1:2",
            "--sudo",
            "--service-account-token",
            "--startup-script-text=x",
            "--time=1h",
            "--idle-after=1h",
            "--when-idle=nothing",
            "--command",
            "c",
        ];
        let mut spec = settings(&words).applied_to(DevServerSpec::default());
        for setting in Setting::value_variants() {
            let before = spec.clone();
            setting.reset(&mut spec);
            assert_ne!(spec, before);
        }
        let left = serde_json::to_value(&spec).unwrap();
        let nothing = serde_json::json!({"lifecycle": {"idle": {"action": "Suspend"}}});
        assert_eq!(left, nothing);
    }
}
