//! `devctl login`: which bastion is hers, that it is the right one, and that it lets her in.

use super::arguments::Login;
use super::authority::Authority;
use super::bastion::Bastion;
use super::connection;
use super::failure::Failure;
use super::host_key::Unknown;
use super::places::Places;
use super::settings::Settings;
use super::{print, ssh_setup};

pub(super) async fn run(arguments: Login, places: Places) -> Result<u8, Failure> {
    let Login { destination, accept_new, identity } = arguments;
    // It holds wherever she stands the next time.
    let identity = identity.map(std::path::absolute).transpose();
    let identity = identity.map_err(|error| Failure::new(format!("no such identity: {error}")))?;
    let bastion = Bastion::resolve(destination, identity, &places)?;
    let unknown = if accept_new { Unknown::Accept } else { Unknown::Ask };
    let greeted = connection::greet(&bastion, unknown).await?;
    if let Some(fingerprint) = greeted.seen.fingerprint.as_ref().filter(|_| greeted.seen.learned) {
        let file = places.shorten(&bastion.learning_file());
        eprintln!("devctl: the host key of {} is known from now on: {fingerprint} ({file})", bastion.display());
    }
    let connection = greeted.log_in(&bastion).await?;
    let settings = Settings {
        host: bastion.destination.host.clone(),
        port: bastion.destination.port,
        user: bastion.login.clone(),
        identity: bastion.identity.clone(),
    };
    settings.save(&places)?;
    // Who may not forward ports is let in all the same.
    let authority = Authority::ask(&connection).await;
    let who = match &authority {
        Ok(authority) => {
            format!("{}; your default DevServer is {}", authority.user, authority.devserver)
        }
        Err(_) => bastion.login.clone(),
    };
    let enabled = ssh_setup::is_enabled(&places)?;
    if enabled {
        // Else it would go on to the bastion, or the person, of the login before.
        match &authority {
            Ok(authority) => ssh_setup::lead_to(&bastion, authority, &places)?,
            Err(failure) => eprintln!("devctl: `ssh NAME.dev` leads where it did before: {failure}"),
        }
    }
    let mut text = format!("logged in to {} as {who}\nnext: `devctl list`, `devctl ssh`", bastion.display());
    if !enabled {
        text += "; `devctl config ssh enable` makes `ssh NAME.dev` and your editor find your DevServers";
    }
    print(&format!("{text}\n"))
}
