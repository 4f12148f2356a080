//! `devctl config`: what ssh must know to take DevServers for hosts, for whoever has no devctl on her laptop.

use kube::ResourceExt;

use crate::api::names;
use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    /// `ssh`, as on a laptop; it may be left out
    #[arg(hide = true)]
    _of: Vec<String>,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let user = names::user_of(&caller.namespace).unwrap_or_default().to_owned();
        let mut servers: Vec<String> = caller.devserver.iter().cloned().collect();
        servers.extend(caller.devservers().await?.iter().map(ResourceExt::name_any));
        servers.sort();
        servers.dedup();
        let any = servers.first().cloned().unwrap_or_else(|| "NAME".to_owned());
        let Some(line) = caller.beyond.known_hosts_line(&patterns(&servers, &user)) else {
            return Err(Error::failed("only the bastion vouches for DevServers: `ssh USER@BASTION devctl config`"));
        };
        // Alone on stdout, to be added to a file.
        caller.print(&format!("{line}\n")).await;
        caller
            .say(&format!(
                "Add that line to ~/.ssh/known_hosts on your laptop. Then `ssh -J {user}@THIS-SERVER {any}.{user}` is your \
                 DevServer {any},\nas are scp, rsync and your editor. `devctl config ssh enable` there makes it `ssh {any}.dev`."
            ))
            .await;
        Ok(())
    }
}

/// Under which names they are hosts. One that is made later is `NAME.USER`, too.
fn patterns(servers: &[String], user: &str) -> String {
    let full = format!("*.{user}");
    servers.iter().map(String::as_str).chain([full.as_str()]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devservers_are_known_by_both_their_names() {
        assert_eq!(patterns(&["dev".to_owned(), "gpu".to_owned()], "alice"), "dev,gpu,*.alice");
        assert_eq!(patterns(&[], "alice"), "*.alice");
    }
}
