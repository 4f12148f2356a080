//! `devctl config`: what ssh must know to take DevServers for hosts, for whoever has no devctl on her laptop.

use kube::ResourceExt;

use crate::api::names;
use crate::devctl::{Caller, Error};

#[derive(clap::Args)]
pub struct Args {
    /// `ssh`, as on a laptop; it may be left out
    #[arg(hide = true)]
    of: Vec<String>,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        understood(&self.of)?;
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
                "Add that line to ~/.ssh/known_hosts on your laptop. Then `ssh -J {user}@BASTION {any}.{user}` is your \
                 DevServer {any},\nas are scp, rsync and your editor. `devctl config ssh enable` there makes it `ssh {any}.dev`.\n\
                 One that you make later is `NAME.{user}`."
            ))
            .await;
        Ok(())
    }
}

/// What changes files of a laptop's is not done from here, nor taken for done.
fn understood(words: &[String]) -> Result<(), Error> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["ssh"] => Ok(()),
        ["ssh", "enable" | "disable" | "show"] => Err(Error::usage(format!(
            "`devctl config {}` is for your laptop; `devctl config` here prints the line that ssh needs there",
            words.join(" ")
        ))),
        _ => Err(Error::usage("only `devctl config` is known here: it prints what ssh needs on your laptop")),
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
    fn what_is_for_a_laptop_is_not_taken_for_done() {
        let asked = |line: &str| understood(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert!(asked("").is_ok() && asked("ssh").is_ok());
        for (line, said) in [("ssh disable", "for your laptop"), ("ssh enable", "for your laptop"), ("rubbish", "only")]
        {
            let error = asked(line).unwrap_err();
            assert!(error.exit == crate::devctl::Exit::Usage && error.text.contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn devservers_are_known_by_both_their_names() {
        assert_eq!(patterns(&["dev".to_owned(), "gpu".to_owned()], "alice"), "dev,gpu,*.alice");
        assert_eq!(patterns(&[], "alice"), "*.alice");
    }
}
