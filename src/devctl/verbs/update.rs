//! `devctl update`.

use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::list::phase;
use super::resume::Waiting;
use super::spec::Settings;
use crate::api::{DevServerSpec, Phase};
use crate::devctl::{Caller, Error, wait};

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
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Wait until it runs again, and show what it waits for
    #[arg(long, short)]
    wait: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    settings: Settings,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let Self { name, unset_env, remove_volume, yes, wait, waiting, settings } = self;
        let name = caller.name(name)?;
        if settings.is_empty() && unset_env.is_empty() && remove_volume.is_empty() {
            return Err(Error::usage("say what to change, such as --flavor; `devctl help update` tells what there is"));
        }
        let restarts = settings.restarts() || !unset_env.is_empty() || !remove_volume.is_empty();
        let server = caller.devserver(&name).await?;
        let mut new = settings.applied_to(server.spec.clone());
        new.env.retain(|variable| !unset_env.contains(&variable.name));
        new.volumes.retain(|volume| !remove_volume.contains(&volume.mount_path));
        let changes = changes(&server.spec, &new)?;
        if changes.is_empty() {
            caller.say(&format!("`{name}` is like that already.")).await;
            return Ok(());
        }
        let runs = matches!(phase(&server), Phase::Running | Phase::Starting);
        if restarts && runs {
            let question = format!("That restarts `{name}`: what runs in it ends, its home stays. Go on?");
            caller.confirm(&question, yes).await?;
        }
        // Only on top of what was looked at: lists are replaced as a whole.
        let metadata = json!({"resourceVersion": server.resource_version()});
        let server = caller.patch(&name, json!({"metadata": metadata, "spec": changes})).await?;
        let then = if restarts && runs { "; it restarts" } else { "" };
        caller.say(&format!("`{name}` is changed{then}.")).await;
        if wait {
            let generation = server.metadata.generation.unwrap_or_default();
            wait::until_running(caller, &name, generation, waiting.limit()).await?;
            caller.say(&format!("`{name}` runs; `devctl ssh {name}` enters it.")).await;
        }
        Ok(())
    }
}

/// What of the spec is another one now; null for what is gone.
fn changes(old: &DevServerSpec, new: &DevServerSpec) -> Result<Map<String, Value>, Error> {
    let fields = |spec| match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Error::failed("the DevServer cannot be written as JSON")),
    };
    let (old, new) = (fields(old)?, fields(new)?);
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(value));
    Ok(gone.chain(changed.map(|(name, value)| (name.clone(), value.clone()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::EnvVar;

    #[test]
    fn only_what_changed_is_sent() {
        let variable = EnvVar { name: "A".to_owned(), value: Some("1".to_owned()), value_from: None };
        let old = DevServerSpec { flavor: Some("a".to_owned()), env: vec![variable], ..DevServerSpec::default() };
        let new = DevServerSpec { flavor: Some("b".to_owned()), env: vec![], ..old.clone() };
        assert_eq!(Value::Object(changes(&old, &new).unwrap()), json!({"flavor": "b", "env": null}));
        assert!(changes(&old, &old).unwrap().is_empty());
    }
}
