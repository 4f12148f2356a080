//! `devctl doctor`: each step from the laptop to the DevServer, and what to do where one fails.

mod inside;
mod report;

use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::Disconnect;
use russh::keys::agent::AgentIdentity;

use super::arguments::Doctor;
use super::bastion::Bastion;
use super::connection::{self, Connection};
use super::failure::{FAILED, Failure};
use super::host_key::Unknown;
use super::identities::{AgentState, Identities};
use super::places::Places;
use super::settings::Settings;
use super::{openssh, print, ssh_setup, terminal};
use crate::devctl;
use crate::devctl::output::{self, Format};
use inside::Inside;
use report::{Report, State};

pub(super) async fn run(arguments: Doctor, places: Places) -> Result<u8, Failure> {
    let mut report = Report::default();
    let reached = reach(&mut report, &places).await;
    if let Some((bastion, connection)) = &reached {
        let (report, places, name) = (&mut report, &places, arguments.name.as_deref());
        Inside { report, connection, bastion, places, name }.look().await;
        let _ = connection.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
    programs(&mut report, &places);
    let failed = report.checks.iter().any(|check| check.state == State::Failed);
    let written = |text: Result<String, devctl::Error>| text.map_err(|error| Failure::new(error.to_string()));
    let text = match arguments.output.format {
        Format::Table | Format::Wide => report.table(std::io::stdout().is_terminal() && terminal::shows_colour()),
        Format::Json => written(output::pretty(&report.checks))?,
        Format::Yaml => written(output::yaml(&report.checks))?,
        Format::Name => report.checks.iter().map(|check| format!("{}\n", check.name)).collect(),
    };
    match (print(&text)?, failed) {
        (0, true) => Ok(FAILED),
        (status, _) => Ok(status),
    }
}

/// Up to the login. None: one of the steps failed, and there is no next.
async fn reach(report: &mut Report, places: &Places) -> Option<(Bastion, Connection)> {
    let settings = report.take("settings", Settings::load(places))?;
    let bastion = report.take("bastion", Bastion::of(&settings, places))?;
    report.checks.pop();
    report.detail(format!("{} in {}", bastion.login_argument(), places.shorten(&places.settings())));
    if !connection::is_proxied(&bastion) {
        let addresses = report.take("DNS", connection::resolve(&bastion.host, bastion.port).await)?;
        let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        report.detail(format!("{} is {}", bastion.host, addresses.join(", ")));
    }
    let dialled = report.take("port", connection::dial(&bastion).await)?;
    let proxy = bastion.config.proxy_command.as_ref().or(bastion.config.proxy_jump.as_ref());
    report.detail(match proxy.filter(|_| connection::is_proxied(&bastion)) {
        Some(proxy) => format!("{} is reached through {proxy}", bastion.display()),
        None => format!("{} takes connections", bastion.display()),
    });
    let greeted = connection::greet_on(dialled, &bastion, Unknown::Refuse).await;
    let greeted = report.take("host key", greeted)?;
    report.detail(format!("{} is known", greeted.seen.fingerprint.clone().unwrap_or_default()));
    let software = greeted.seen.software.clone().unwrap_or_default();
    match software.starts_with("SSH-2.0-bastion_") {
        true => report.ok("server", software),
        false => report.failed(
            "server",
            format!("it is not a bastion but {software}"),
            "is the port right? `devctl login [USER@]HOST[:PORT]`",
        ),
    }
    keys(report, &bastion).await;
    let connection = match greeted.log_in(&bastion).await {
        Ok(connection) => connection,
        Err(failure) => {
            report.failure("login", failure);
            return None;
        }
    };
    report.ok("login", format!("as {}", bastion.login));
    Some((bastion, connection))
}

/// What there is to log in with, and whether its certificates hold by this machine's clock.
async fn keys(report: &mut Report, bastion: &Bastion) {
    let mut agent = connection::reach_agent(bastion).await;
    let Identities { offers, notes, agent } = connection::identities(bastion, &mut agent).await;
    match agent {
        AgentState::Absent => {
            report.note("ssh-agent", "none".to_owned(), "keys come from files; `ssh-add` needs an agent")
        }
        AgentState::Reached(0) => report.note("ssh-agent", "holds no key".to_owned(), "`ssh-add` adds yours"),
        AgentState::Reached(1) => report.ok("ssh-agent", "holds a key".to_owned()),
        AgentState::Reached(keys) => report.ok("ssh-agent", format!("holds {keys} keys")),
        AgentState::Unreachable(socket, error) => report.failed(
            "ssh-agent",
            format!("{} does not answer: {error}", socket.display()),
            "start it (`eval $(ssh-agent)`), or unset SSH_AUTH_SOCK",
        ),
    }
    match offers.is_empty() {
        true => report.failed("keys", "there is none".to_owned(), "make one: `ssh-keygen -t ed25519`"),
        false => {
            let names: Vec<&str> = offers.iter().map(|offer| offer.name.as_str()).collect();
            report.ok("keys", names.join(", "));
        }
    }
    for note in notes {
        report.note("keys", note, "");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for offer in &offers {
        let AgentIdentity::Certificate { certificate, .. } = &offer.identity else { continue };
        let (name, after, before) = (&offer.name, certificate.valid_after(), certificate.valid_before());
        match () {
            () if now < after => report.failed(
                "certificate",
                format!("{name} is not valid before {}", time(after)),
                "is this machine's clock right? `timedatectl`",
            ),
            () if now >= before => {
                report.failed("certificate", format!("{name} expired {}", time(before)), "have a new one signed");
            }
            () => report.ok("certificate", format!("{name} is valid until {}", time(before))),
        }
    }
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "for ever".to_owned(), |time| time.to_string())
}

fn elsewhere(places: &Places) -> Option<String> {
    let bastion = Bastion::of(&Settings::load(places).ok()?, places).ok()?;
    ssh_setup::leads_elsewhere(&bastion, places).ok()?
}

/// What else there is on this machine.
fn programs(report: &mut Report, places: &Places) {
    match ssh_setup::is_enabled(places) {
        Ok(true) => match ssh_setup::missing(places).as_slice() {
            [] => match elsewhere(places) {
                None => report.ok("ssh NAME.dev", "enabled".to_owned()),
                Some(jump) => report.failed(
                    "ssh NAME.dev",
                    format!("it goes by {jump}, which is not where you are logged in"),
                    "`devctl config ssh enable` switches it to this bastion",
                ),
            },
            [file, ..] => report.failed(
                "ssh NAME.dev",
                format!("{} is missing", places.shorten(file)),
                "`devctl config ssh enable` writes it",
            ),
        },
        Ok(false) => report.note("ssh NAME.dev", "not enabled".to_owned(), "`devctl config ssh enable`, if you like"),
        Err(failure) => report.failure("ssh NAME.dev", failure),
    }
    match openssh::find("ssh").zip(openssh::find("scp")) {
        Some((ssh, _)) => report.ok("OpenSSH", ssh.display().to_string()),
        None => {
            report.note("OpenSSH", "not installed".to_owned(), "devctl does without; a ProxyJump needs its ssh");
        }
    }
}
