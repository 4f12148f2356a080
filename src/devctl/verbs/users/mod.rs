//! `devctl users`: for whoever may change DevServerUsers, which the API server decides.

mod key;
mod table;

use clap::Subcommand;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::api::{DevServerTeam, DevServerUser, DevServerUserSpec, names};
use crate::devctl::output::{self, Format, OutputArgs, Table};
use crate::devctl::{Caller, Error, revise};
use crate::plain::plain;
use crate::watch;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Add a user
    Add {
        /// Login name: lower-case letters, digits and inner hyphens
        name: String,
        /// A public key, a line as in authorized_keys; `-` reads such lines from stdin; may be given again
        #[arg(long, short, value_name = "KEY")]
        key: Vec<String>,
        /// A further login name; may be given again
        #[arg(long, value_name = "LOGIN")]
        login: Vec<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remove a user; the namespace, DevServers and homes are kept
    Remove {
        name: String,
        /// Do not ask; needed where there is no terminal to ask on
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the users
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the keys of a user, and add or remove some
    Keys {
        name: String,
        /// A public key to add; `-` reads lines from stdin; may be given again
        #[arg(long, value_name = "KEY")]
        add: Vec<String>,
        /// The fingerprint of a key to remove; may be given again
        #[arg(long, value_name = "FINGERPRINT")]
        remove: Vec<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl Args {
    pub(in crate::devctl::verbs) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        match self.verb {
            Verb::Add { name, key, login, output } => {
                let user = add(caller, &name, key, login).await?;
                output::changed(caller, output.format, &user).await
            }
            Verb::Remove { name, yes, output } => {
                // As it was.
                let user = remove(caller, &name, yes).await?;
                output::changed(caller, output.format, &user).await
            }
            Verb::List { output } => {
                let (users, teams) = tokio::try_join!(fetch(caller), teams(caller))?;
                if users.is_empty() && output.format.is_table() {
                    caller.say("There are no users; `devctl users add NAME --key KEY` lets somebody in.").await;
                    return Ok(());
                }
                let table = table::table(&users, &teams, output.format == Format::Wide, caller.now());
                output::list(caller, output.format, &users, table).await
            }
            Verb::Keys { name, add, remove, output } => keys(caller, &name, add, &remove, output).await,
        }
    }
}

fn api(caller: &Caller) -> Api<DevServerUser> {
    Api::all(caller.client.clone())
}

/// The users, by name.
pub(super) async fn fetch(caller: &Caller) -> Result<Vec<DevServerUser>, Error> {
    let mut users = caller.readable::<DevServerUser>(Api::all(caller.client.clone())).await?;
    users.sort_by_key(ResourceExt::name_any);
    Ok(users)
}

/// The teams; none where nobody lets her see them.
async fn teams(caller: &Caller) -> Result<Vec<DevServerTeam>, Error> {
    match watch::list::<DevServerTeam>(Api::all(caller.client.clone())).await {
        Ok((teams, _)) => Ok(teams),
        Err(kube::Error::Api(status)) if [403, 404].contains(&status.code) => Ok(Vec::new()),
        Err(error) => Err(Error::of_api(error)),
    }
}

async fn add(caller: &mut Caller, name: &str, keys: Vec<String>, logins: Vec<String>) -> Result<DevServerUser, Error> {
    if !names::is_user_name(name) {
        return Err(Error::usage(format!(
            "a user's name has 1 to {} lower-case letters, digits and inner hyphens; --login takes other spellings",
            names::MAX_USER_LENGTH
        )));
    }
    let public_keys = key::read(caller, keys).await?;
    let keyless = public_keys.is_empty();
    let spec = DevServerUserSpec { public_keys, logins, ..DevServerUserSpec::default() };
    let parameters = PostParams { field_manager: Some(crate::devctl::NAME.to_owned()), ..PostParams::default() };
    let user = match api(caller).create(&parameters, &DevServerUser::new(name, spec)).await {
        Ok(user) => user,
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let text =
                format!("there is a user `{name}` already; `devctl users keys {name} --add KEY` adds a further key");
            return Err(Error::failed(text));
        }
        Err(error) => return Err(Error::of_api(error)),
    };
    let said = match keyless {
        true => format!("`{name}` is added, but cannot log in yet: `devctl users keys {name} --add KEY` adds a key."),
        false => format!("`{name}` is added and may log in: ssh {name}@BASTION"),
    };
    caller.say(&said).await;
    Ok(user)
}

async fn remove(caller: &mut Caller, name: &str, yes: bool) -> Result<DevServerUser, Error> {
    let user = find(caller, name).await?;
    let question = format!("Remove user `{name}` with all keys? The namespace, DevServers and homes are kept.");
    caller.confirm_loss(&question, yes).await?;
    api(caller).delete(name, &DeleteParams::default()).await.map_err(Error::of_api)?;
    let namespace = names::namespace(name);
    caller
        .say(&format!(
            "`{name}` is removed. The DevServers and homes are kept in namespace {namespace}; `kubectl delete namespace \
             {namespace}` deletes them."
        ))
        .await;
    Ok(user)
}

async fn find(caller: &Caller, name: &str) -> Result<DevServerUser, Error> {
    // A name goes into a URL.
    let found = match names::is_user_name(name) {
        true => api(caller).get_opt(name).await.map_err(Error::of_api)?,
        false => None,
    };
    found.ok_or_else(|| {
        Error::not_found(format!("there is no user `{}`; `devctl users list` shows which there are", plain(name)))
    })
}

async fn keys(
    caller: &mut Caller,
    name: &str,
    add: Vec<String>,
    remove: &[String],
    output: OutputArgs,
) -> Result<(), Error> {
    let mut user = find(caller, name).await?;
    if !add.is_empty() || !remove.is_empty() {
        let mut keys = user.spec.public_keys.clone();
        for unwanted in remove {
            let before = keys.len();
            keys.retain(|line| key::fingerprint(line).as_ref() != Some(unwanted) && line != unwanted);
            if keys.len() == before {
                let text = format!(
                    "`{name}` has no key {}; `devctl users keys {name}` shows which there are",
                    plain(unwanted)
                );
                return Err(Error::not_found(text));
            }
        }
        for new in key::read(caller, add).await? {
            if !keys.contains(&new) {
                keys.push(new);
            }
        }
        user = revise(&api(caller), user, json!({"publicKeys": keys})).await?;
    }
    if !output.format.is_table() {
        return output::changed(caller, output.format, &user).await;
    }
    if user.spec.public_keys.is_empty() {
        caller.say(&format!("`{name}` has no key here; `devctl users keys {name} --add KEY` adds one.")).await;
        return Ok(());
    }
    let mut table = Table::new(&["FINGERPRINT", "KEY"]);
    for line in &user.spec.public_keys {
        table.row(vec![key::fingerprint(line).unwrap_or_default().into(), key::without_body(line).into()]);
    }
    caller.print(&table.render(caller.columns(), caller.streams.colour)).await;
    Ok(())
}
