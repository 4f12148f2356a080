//! The settings of a DevServer that `create` and `update` take, and what they are in its spec.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::{DevServerSpec, EnvVar, Home, Idle, Lifecycle, TimeSpan, Volume};
use crate::devctl::time;

#[derive(clap::Args)]
pub(super) struct Settings {
    /// The size, one of `devctl flavors`
    #[arg(long, short, value_name = "NAME")]
    pub(super) flavor: Option<String>,
    /// Container image
    #[arg(long, short)]
    pub(super) image: Option<String>,
    /// Size of the home volume, such as 20Gi
    #[arg(long, value_name = "SIZE")]
    pub(super) home_size: Option<String>,
    /// For how long it runs after it was made or woken, such as 4h; then it is suspended
    #[arg(long, short = 't', value_name = "TIME", value_parser = time::parser())]
    pub(super) time: Option<TimeSpan>,
    /// After how long without any use it is suspended, such as 1h
    #[arg(long, value_name = "TIME", value_parser = time::parser())]
    pub(super) idle_after: Option<TimeSpan>,
    /// A variable for every program in it; may be given again
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) env: Vec<EnvVar>,
    /// A claim of yours to mount; may be given again
    #[arg(long, short, value_name = "CLAIM:/PATH[:ro]", value_parser = volume)]
    pub(super) volume: Vec<Volume>,
    /// The pod's first process; takes all words that follow
    #[arg(long, value_name = "WORD", num_args = 1.., allow_hyphen_values = true)]
    pub(super) command: Option<Vec<String>>,
}

impl Settings {
    /// Whether anything is set.
    pub(super) fn is_empty(&self) -> bool {
        !self.restarts() && self.home_size.is_none() && self.time.is_none() && self.idle_after.is_none()
    }

    /// Whether a pod that runs must be made anew for it.
    pub(super) fn restarts(&self) -> bool {
        let Self { flavor, image, env, volume, command, home_size: _, time: _, idle_after: _ } = self;
        flavor.is_some() || image.is_some() || command.is_some() || !env.is_empty() || !volume.is_empty()
    }

    /// `spec` with these settings; variables and volumes take the place of those of the same name or path.
    pub(super) fn applied_to(self, mut spec: DevServerSpec) -> DevServerSpec {
        let Self { flavor, image, home_size, time, idle_after, env, volume, command } = self;
        spec.flavor = flavor.or(spec.flavor);
        spec.image = image.or(spec.image);
        spec.command = command.or(spec.command);
        if let Some(size) = home_size {
            spec.home.get_or_insert_with(Home::default).size = Some(Quantity(size));
        }
        if time.is_some() || idle_after.is_some() {
            let lifecycle = spec.lifecycle.get_or_insert_with(Lifecycle::default);
            lifecycle.time_to_live = time.or(lifecycle.time_to_live.take());
            if let Some(after) = idle_after {
                lifecycle.idle.get_or_insert_with(Idle::default).after = Some(after);
            }
        }
        for variable in env {
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

fn variable(text: &str) -> Result<EnvVar, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None })
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn volume(text: &str) -> Result<Volume, String> {
    let (claim, path) = text.split_once(':').ok_or("expected CLAIM:/PATH, with :ro behind it to only read there")?;
    let (path, read_only) = match path.split_once(':') {
        Some((path, "ro")) => (path, true),
        Some((path, "rw")) => (path, false),
        Some((_, other)) => return Err(format!("`{other}` is neither ro nor rw")),
        None => (path, false),
    };
    if claim.is_empty() || !path.starts_with('/') {
        return Err("expected CLAIM:/PATH, with an absolute path".to_owned());
    }
    Ok(Volume { claim: claim.to_owned(), mount_path: path.to_owned(), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_claims_at_paths() {
        let of =
            |claim: &str, path: &str, read_only| Volume { claim: claim.into(), mount_path: path.into(), read_only };
        assert_eq!(volume("data:/data"), Ok(of("data", "/data", false)));
        assert_eq!(volume("data:/data:ro"), Ok(of("data", "/data", true)));
        for bad in ["data", "data:data", ":/data", "data:/data:rx"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_have_a_name_and_any_value() {
        assert_eq!(variable("A=b=c").unwrap().value.as_deref(), Some("b=c"));
        assert_eq!(variable("A=").unwrap().value.as_deref(), Some(""));
        assert!(variable("A").is_err() && variable("=b").is_err());
    }

    #[test]
    fn what_is_not_set_stays() {
        let old = DevServerSpec {
            image: Some("a".to_owned()),
            env: vec![variable("A=1").unwrap(), variable("B=2").unwrap()],
            lifecycle: Some(Lifecycle { time_to_live: Some(TimeSpan("4h".to_owned())), ..Lifecycle::default() }),
            ..DevServerSpec::default()
        };
        let settings = Settings {
            flavor: Some("gpu-1".to_owned()),
            image: None,
            home_size: None,
            time: None,
            idle_after: Some(TimeSpan("1h".to_owned())),
            env: vec![variable("A=3").unwrap()],
            volume: Vec::new(),
            command: None,
        };
        assert!(settings.restarts() && !settings.is_empty());
        let new = settings.applied_to(old);
        assert_eq!(new.image.as_deref(), Some("a"));
        assert_eq!(new.flavor.as_deref(), Some("gpu-1"));
        assert_eq!(new.env.iter().map(|v| v.value.clone().unwrap()).collect::<Vec<_>>(), ["3", "2"]);
        let lifecycle = new.lifecycle.unwrap();
        assert_eq!(lifecycle.time_to_live.unwrap().0, "4h");
        assert_eq!(lifecycle.idle.unwrap().after.unwrap().0, "1h");
    }
}
