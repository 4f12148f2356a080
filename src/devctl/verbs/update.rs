//! `devctl update`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::extend;
use super::home::{self, Kept};
use super::list::phase;
use super::refused::refused;
use super::reset::Setting;
use super::resume::Waiting;
use super::spec::Settings;
use crate::api::{DevServerSpec, DevServerStatus, Phase};
use crate::devctl::output::{self, OutputArgs};
use crate::devctl::{Caller, Error, revise, wait};
use crate::plain::plain;

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
    /// Take away a variable; may be given again
    #[arg(long, value_name = "NAME")]
    unset_env: Vec<String>,
    /// Take away the volume at this path; may be given again
    #[arg(long, value_name = "PATH")]
    remove_volume: Vec<String>,
    /// Set a setting back to its default, such as `--reset image`; may be given again
    #[arg(long, value_name = "SETTING")]
    reset: Vec<Setting>,
    /// Do not ask; needed where an ephemeral home is lost and there is no terminal to ask on
    #[arg(long, short)]
    yes: bool,
    /// Wait until it runs again, and show what it waits for
    #[arg(long, short)]
    wait: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    unchangeable: home::Unchangeable,
}

/// The operator needs a moment to say whether it takes the change.
const OPERATOR: Duration = Duration::from_secs(5);

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let Self { name, unset_env, remove_volume, reset, yes, wait, waiting, output, mut settings, unchangeable } =
            self;
        let name = caller.name(name)?;
        let nothing = settings.is_empty() && unchangeable == home::Unchangeable::default();
        if nothing && unset_env.is_empty() && remove_volume.is_empty() && reset.is_empty() {
            return Err(Error::usage("say what to change, such as --flavor; `devctl help update` tells what there is"));
        }
        settings.read(caller).await?;
        let server = caller.devserver(&name).await?;
        unchangeable.check(&name, &server.spec)?;
        let is_timed = settings.time.is_some();
        let mut new = settings.applied_to(server.spec.clone());
        let is_there = |list: bool, what: String| match list {
            true => Ok(()),
            false => {
                Err(Error::not_found(format!("`{name}` has no {what}; `devctl describe {name}` shows what it has")))
            }
        };
        for variable in &unset_env {
            let known = new.env.iter().any(|one| one.name == *variable);
            is_there(known, format!("variable {}", plain(variable)))?;
        }
        for path in &remove_volume {
            let known = new.volumes.iter().any(|one| one.mount_path == *path);
            is_there(known, format!("volume at {}", plain(path)))?;
        }
        new.env.retain(|variable| !unset_env.contains(&variable.name));
        new.volumes.retain(|volume| !remove_volume.contains(&volume.mount_path));
        reset.into_iter().for_each(|setting| setting.reset(&mut new));
        Kept::of(&server).takes_size_of(&name, &new)?;
        let changes = changes(&server.spec, &new)?;
        if changes.is_empty() {
            caller.say(&format!("`{name}` already has these settings; nothing was changed.")).await;
            return output::changed(caller, output.format, &server).await;
        }
        let runs = matches!(phase(&server), Phase::Running | Phase::Starting);
        let restarts = runs && restarts(&server.spec, &new);
        if restarts {
            let home = Kept::of(&server);
            let what = home.without_pod("its");
            let question = format!("That restarts `{name}`: what runs in it ends, and {what}. Go on?");
            match home {
                Kept::Nowhere => caller.confirm_loss(&question, yes).await?,
                Kept::Own(_) | Kept::Existing(_) => caller.confirm(&question, yes).await?,
            }
        }
        let before = server.status.clone();
        let server = revise(&caller.api(), server, changes.into()).await?;
        if !wait {
            output::changed(caller, output.format, &server).await?;
        }
        let generation = server.metadata.generation.unwrap_or_default();
        let settled = async {
            let mut less = None;
            if runs {
                let observed = wait::until_observed(caller, &name, generation, OPERATOR).await;
                less = observed.as_ref().and_then(|server| extend::cut_short(server, caller.now()));
                taken(&name, observed.and_then(|server| server.status).as_ref(), before.as_ref())?;
            }
            let then = if restarts { "; it restarts" } else { "" };
            caller.say(&format!("`{name}` is changed{then}.")).await;
            if let Some(less) = less.filter(|_| is_timed) {
                caller.say(&less).await;
            }
            if wait {
                let status = wait::until_running(caller, &name, generation, waiting.limit()).await?;
                taken(&name, Some(&status), before.as_ref())?;
                caller.say(&format!("`{name}` runs; `devctl ssh {name}` enters it.")).await;
            }
            Ok::<_, Error>(())
        };
        let done = settled.await;
        if wait {
            // As it is now.
            let server = caller.devserver(&name).await.unwrap_or(server);
            output::changed(caller, output.format, &server).await?;
        }
        done
    }
}

/// Fails if the API took the change and the operator did not.
fn taken(name: &str, now: Option<&DevServerStatus>, before: Option<&DevServerStatus>) -> Result<(), Error> {
    match now.and_then(|now| refused(now, before)) {
        Some(why) => Err(Error::failed(format!("`{name}` is changed, but that is not what runs: {why}"))),
        None => Ok(()),
    }
}

/// Whether a pod that runs must be made anew for what is `new`.
fn restarts(old: &DevServerSpec, new: &DevServerSpec) -> bool {
    // What the pod does not know of.
    let pods_own = |spec: &DevServerSpec| {
        let mut home = spec.home.clone().unwrap_or_default();
        home.size = None;
        DevServerSpec { home: Some(home), lifecycle: None, share: Vec::new(), ..spec.clone() }
    };
    pods_own(old) != pods_own(new)
}

/// The merge patch that makes `new` of `old`.
fn changes(old: &DevServerSpec, new: &DevServerSpec) -> Result<Map<String, Value>, Error> {
    let fields = |spec| match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Error::failed("the DevServer cannot be written as JSON")),
    };
    Ok(difference(&fields(old)?, fields(new)?))
}

/// RFC 7396: null takes a field away, objects are merged, and all else is replaced.
fn difference(old: &Map<String, Value>, new: Map<String, Value>) -> Map<String, Value> {
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let mut changes: Map<String, Value> = gone.collect();
    for (name, value) in new {
        let change = match (old.get(&name), value) {
            (Some(old), new) if *old == new => continue,
            (Some(Value::Object(old)), Value::Object(new)) => Value::Object(difference(old, new)),
            (_, new) => new,
        };
        changes.insert(name, change);
    }
    changes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::spec::tests::settings;
    use super::*;

    #[test]
    fn only_what_changed_is_sent() {
        let old = settings(&["--flavor=a", "--env=A=1", "--time=1h", "--idle-after=2h"]);
        let old = old.applied_to(DevServerSpec::default());
        let mut new = DevServerSpec { flavor: Some("b".to_owned()), env: vec![], ..old.clone() };
        Setting::Time.reset(&mut new);
        let expected = json!({"flavor": "b", "env": null, "lifecycle": {"timeToLive": null}});
        assert_eq!(Value::Object(changes(&old, &new).unwrap()), expected);
        assert!(changes(&old, &old).unwrap().is_empty());
    }

    #[test]
    fn a_pod_is_made_anew_for_what_it_is_made_of() {
        let old = DevServerSpec::default();
        let with = |words: &[&str]| settings(words).applied_to(old.clone());
        for words in
            [["--shm-size=1Gi"], ["--user=1"], ["--sudo=false"], ["--home-path=/x"], ["--startup-script-text=x"]]
        {
            assert!(restarts(&old, &with(&words)), "{words:?}");
        }
        for words in [["--home-size=9Gi"], ["--time=1h"], ["--idle-after=1h"], ["--when-idle=nothing"]] {
            assert!(!restarts(&old, &with(&words)), "{words:?}");
        }
    }
}
