//! `devctl share`.

use serde_json::json;

use crate::api::{Share, names};
use crate::devctl::output::{self, OutputArgs};
use crate::devctl::{Caller, Error, revise};

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer
    name: String,
    /// Whom to let in; without any, list who may
    users: Vec<String>,
    /// Let them only watch its shells
    #[arg(long, requires = "users")]
    read_only: bool,
    /// Take their access away; their sessions end
    #[arg(long, requires = "users", conflicts_with = "read_only")]
    remove: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let Self { name, users, read_only, remove, output } = self;
        if let Some(wrong) = users.iter().find(|user| !names::is_user_name(user)) {
            return Err(Error::usage(format!("`{wrong}` is not a valid user name")));
        }
        let server = caller.devserver(&name).await?;
        if users.is_empty() {
            let lines = server.spec.share.iter().map(|share| {
                let what = if share.read_only { "looks" } else { "works in it" };
                format!("{:<32} {what}\n", share.user)
            });
            let lines: String = lines.collect();
            let words = if lines.is_empty() { format!("Nobody else may enter `{name}`.\n") } else { lines };
            return output::changed_or(caller, output.format, &server, words.trim_end()).await;
        }
        let share = changed(&server.spec.share, &users, read_only, remove);
        let server = revise(&caller.api(), server, json!({"share": share})).await?;
        output::changed(caller, output.format, &server).await?;
        let owner = names::user_of(&caller.namespace).unwrap_or_default().to_owned();
        for user in users {
            let line = match (remove, read_only) {
                (true, _) => format!(
                    "{user} may not enter `{name}` any more. What was left running in it goes on until `devctl suspend \
                     {name}`."
                ),
                (_, true) => format!("{user} may look: ssh -t {user}+{name}.{owner}@BASTION shells"),
                (_, false) => format!("{user} may enter: ssh {user}+{name}.{owner}@BASTION"),
            };
            caller.say(&line).await;
        }
        Ok(())
    }
}

/// The list with `users` as they are wanted, in place of what it says of them.
fn changed(share: &[Share], users: &[String], read_only: bool, remove: bool) -> Vec<Share> {
    let others = share.iter().filter(|share| !users.contains(&share.user)).cloned();
    let mut users = users.to_vec();
    users.sort();
    users.dedup();
    let wanted = users.into_iter().filter(|_| !remove).map(|user| Share { user, read_only });
    others.chain(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_each_once() {
        let share = |user: &str, read_only| Share { user: user.to_owned(), read_only };
        let there = [share("bob", false), share("carol", false)];
        let users = |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect::<Vec<_>>();
        let looks = changed(&there, &users(&["bob", "dave", "bob"]), true, false);
        assert_eq!(looks, [share("carol", false), share("bob", true), share("dave", true)]);
        assert_eq!(
            changed(&looks, &users(&["carol", "nobody"]), false, true),
            [share("bob", true), share("dave", true)]
        );
    }
}
