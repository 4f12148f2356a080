//! The settings of a DevServer that `create` and `update` take, and what they are in its spec.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::startup_script::StartupScript;
use super::values::{self, User};
use crate::api::{DevServerSpec, EnvVar, Home, Idle, IdleAction, Lifecycle, RunAs, TimeSpan, Volume};
use crate::devctl::{Caller, Error, time};

#[derive(clap::Args, Default, PartialEq)]
pub(super) struct Settings {
    /// The size, one of `devctl flavors`
    #[arg(long, short, value_name = "NAME")]
    pub(super) flavor: Option<String>,
    /// Container image
    #[arg(long, short)]
    pub(super) image: Option<String>,
    /// For how long it runs after it was made or resumed, such as 4h; then it is suspended
    #[arg(long, short = 't', value_name = "TIME", value_parser = time::parser())]
    pub(super) time: Option<TimeSpan>,
    /// After how long without any use it is suspended, such as 1h
    #[arg(long, value_name = "TIME", value_parser = time::parser())]
    idle_after: Option<TimeSpan>,
    /// What happens when nobody uses it
    #[arg(long, value_name = "WHAT", ignore_case = true, value_parser = values::idle_action())]
    when_idle: Option<IdleAction>,
    /// A variable for every program in it; may be given again
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = values::variable)]
    env: Vec<EnvVar>,
    /// A variable whose value is in a Secret of your namespace, which an administrator makes; may be given again
    #[arg(long, value_name = "NAME=SECRET/KEY[:optional]", value_parser = values::secret_variable)]
    env_secret: Vec<EnvVar>,
    /// A PersistentVolumeClaim of your namespace to mount, which an administrator makes; may be given again
    #[arg(long, short, value_name = "CLAIM:/PATH[:ro]", value_parser = values::volume)]
    volume: Vec<Volume>,
    /// Whether the volumes of your teams are mounted
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false", hide_possible_values = true)]
    team_volumes: Option<bool>,
    /// Size of the home volume, such as 20Gi; it can only grow
    #[arg(long, value_name = "SIZE")]
    home_size: Option<String>,
    /// Where the home is in the pod, such as /root
    #[arg(long, value_name = "/PATH")]
    home_path: Option<String>,
    /// Size of /dev/shm, such as 8Gi
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// Whom its programs run as, by number
    #[arg(long, value_name = "UID[:GID]", value_parser = values::user)]
    user: Option<User>,
    /// Whether its programs may gain rights, as sudo does
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false", hide_possible_values = true)]
    sudo: Option<bool>,
    /// Whether its programs have the token of your account for the cluster's API
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false", hide_possible_values = true)]
    service_account_token: Option<bool>,
    #[command(flatten)]
    startup_script: StartupScript,
    /// A program that runs beside the sessions, such as a server; takes all words that follow
    #[arg(long, value_name = "WORD", num_args = 1.., allow_hyphen_values = true)]
    command: Option<Vec<String>>,
}

impl Settings {
    /// Whether nothing is set.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads what is to be read first.
    pub(super) async fn read(&mut self, caller: &mut Caller) -> Result<(), Error> {
        self.startup_script.read(caller).await
    }

    /// `spec` with these settings; variables and volumes take the place of those of the same name or path.
    pub(super) fn applied_to(self, mut spec: DevServerSpec) -> DevServerSpec {
        let Self { flavor, image, time, idle_after, when_idle, env, env_secret, volume, team_volumes, .. } = self;
        let Self { home_size, home_path, shm_size, user, sudo, service_account_token, startup_script, command, .. } =
            self;
        spec.flavor = flavor.or(spec.flavor);
        spec.image = image.or(spec.image);
        spec.command = command.or(spec.command);
        spec.shm = shm_size.map(Quantity).or(spec.shm);
        spec.mount_team_volumes = team_volumes.or(spec.mount_team_volumes);
        spec.automount_service_account_token = service_account_token.unwrap_or(spec.automount_service_account_token);
        spec.startup_script = startup_script.into_text().or(spec.startup_script);
        if home_size.is_some() || home_path.is_some() {
            let home = spec.home.get_or_insert_with(Home::default);
            home.size = home_size.map(Quantity).or(home.size.take());
            home.mount_path = home_path.or(home.mount_path.take());
        }
        if user.is_some() || sudo.is_some() {
            let run_as = spec.user.get_or_insert_with(RunAs::default);
            let User { uid, gid } = user.unwrap_or_default();
            run_as.uid = uid.or(run_as.uid);
            run_as.gid = gid.or(run_as.gid);
            run_as.sudo = sudo.or(run_as.sudo);
        }
        if time.is_some() {
            spec.lifecycle.get_or_insert_with(Lifecycle::default).time_to_live = time;
        }
        if idle_after.is_some() || when_idle.is_some() {
            let lifecycle = spec.lifecycle.get_or_insert_with(Lifecycle::default);
            let idle = lifecycle.idle.get_or_insert_with(Idle::default);
            idle.after = idle_after.or(idle.after.take());
            idle.action = when_idle.unwrap_or(idle.action);
        }
        for variable in env.into_iter().chain(env_secret) {
            put(&mut spec.env, variable, |a, b| a.name == b.name);
        }
        for volume in volume {
            put(&mut spec.volumes, volume, |a, b| a.mount_path == b.mount_path);
        }
        spec
    }
}

/// Puts `new` in the place of the one that is the `same`, or at the end.
fn put<T>(list: &mut Vec<T>, new: T, same: impl Fn(&T, &T) -> bool) {
    match list.iter_mut().find(|old| same(old, &new)) {
        Some(old) => *old = new,
        None => list.push(new),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    /// The settings that are given by `words`, as on a command line.
    pub(in super::super) fn settings(words: &[&str]) -> Settings {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            settings: Settings,
        }
        Line::try_parse_from([&["x"], words].concat()).unwrap().settings
    }

    #[test]
    fn what_is_not_set_stays() {
        let old = settings(&[
            "--image",
            "a",
            "--env",
            "A=1",
            "--env",
            "B=2",
            "--time",
            "4h",
            "--user",
            "1:2",
            "--home-path",
            "/h",
        ]);
        let old = old.applied_to(DevServerSpec::default());
        let new =
            settings(&["--flavor", "gpu-1", "--idle-after", "1h", "--env", "A=3", "--user", "7", "--home-size", "5Gi"]);
        let new = new.applied_to(old);
        assert_eq!(new.image.as_deref(), Some("a"));
        assert_eq!(new.flavor.as_deref(), Some("gpu-1"));
        assert_eq!(new.env.iter().map(|v| v.value.clone().unwrap()).collect::<Vec<_>>(), ["3", "2"]);
        let lifecycle = new.lifecycle.unwrap();
        assert_eq!(lifecycle.time_to_live.unwrap().0, "4h");
        assert_eq!(lifecycle.idle.unwrap().after.unwrap().0, "1h");
        assert_eq!(new.user, Some(RunAs { uid: Some(7), gid: Some(2), sudo: None }));
        let home = new.home.unwrap();
        assert_eq!((home.size.unwrap().0.as_str(), home.mount_path.as_deref()), ("5Gi", Some("/h")));
    }

    #[test]
    fn every_setting_is_a_field() {
        let spec = settings(&[
            "--shm-size",
            "8Gi",
            "--sudo=false",
            "--service-account-token",
            "--when-idle",
            "nothing",
            "--env-secret",
            "TOKEN=hub/token:optional",
            "--volume",
            "data:/data:ro",
            "--startup-script-text",
            "echo x\n",
            "--command",
            "sleep",
            "-x",
        ]);
        let spec = serde_json::to_value(spec.applied_to(DevServerSpec::default())).unwrap();
        let secret = serde_json::json!({"secretKeyRef": {"name": "hub", "key": "token", "optional": true}});
        let expected = serde_json::json!({
            "shm": "8Gi", "user": {"sudo": false}, "automountServiceAccountToken": true, "lifecycle": {"idle": {"action": "None"}},
            "env": [{"name": "TOKEN", "valueFrom": secret}],
            "volumes": [{"claim": "data", "mountPath": "/data", "readOnly": true}],
            "startupScript": "echo x\n", "command": ["sleep", "-x"],
        });
        assert_eq!(spec, expected);
    }
}
