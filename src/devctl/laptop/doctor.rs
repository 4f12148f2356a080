//! `devctl doctor`: each step from the laptop to the DevServer, and what to do where one fails.

use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::agent::AgentIdentity;
use russh::{ChannelMsg, Disconnect};
use serde::Serialize;
use serde_json::Value;

use super::arguments::{Doctor, Output};
use super::authority::Authority;
use super::bastion::Bastion;
use super::connection::{self, Connection};
use super::failure::{FAILED, Failure};
use super::host_key::Unknown;
use super::identities::{AgentState, Identities};
use super::places::Places;
use super::settings::Settings;
use super::{openssh, print, remote, ssh_setup};

/// One step.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Worth knowing, and no fault.
    Note,
    Failed,
}

#[derive(Default)]
struct Report {
    checks: Vec<Check>,
}

pub(super) async fn run(arguments: Doctor, places: Places) -> Result<u8, Failure> {
    let mut report = Report::default();
    let reached = reach(&mut report, &places).await;
    if let Some(connection) = &reached {
        inside(&mut report, connection).await;
        let _ = connection.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
    programs(&mut report, &places);
    let failed = report.checks.iter().any(|check| check.state == State::Failed);
    let text = match arguments.output {
        Output::Table => report.table(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        Output::Json => serde_json::to_string_pretty(&report.checks).unwrap_or_default() + "\n",
    };
    match (print(&text)?, failed) {
        (0, true) => Ok(FAILED),
        (status, _) => Ok(status),
    }
}

/// Up to the login. None: one of the steps failed, and there is no next.
async fn reach(report: &mut Report, places: &Places) -> Option<Connection> {
    let settings = report.take("settings", Settings::load(places))?;
    let bastion = report.take("bastion", Bastion::of(&settings, places))?;
    report.checks.pop();
    report.detail(format!("{} in {}", bastion.login_argument(), places.shorten(&places.settings())));
    if !connection::is_proxied(&bastion) {
        let addresses = report.take("name", connection::resolve(&bastion.host, bastion.port).await)?;
        let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        report.detail(format!("{} is {}", bastion.host, addresses.join(", ")));
    }
    let dialled = report.take("port", connection::dial(&bastion).await)?;
    report.detail(format!("{} takes connections", bastion.display()));
    let greeted = connection::greet_on(dialled, &bastion, Unknown::Refuse).await;
    let greeted = report.take("host key", greeted)?;
    report.detail(format!("{} is known", greeted.seen.fingerprint.clone().unwrap_or_default()));
    let software = greeted.seen.software.clone().unwrap_or_default();
    match software.starts_with("SSH-2.0-bastion_") {
        true => report.ok("server", software),
        false => report.failed(
            "server",
            format!("it is no bastion, but {software}"),
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
    Some(connection)
}

/// What there is to log in with, and whether its certificates hold by this machine's clock.
async fn keys(report: &mut Report, bastion: &Bastion) {
    let mut agent = connection::reach_agent(bastion).await;
    let Identities { offers, notes, agent } = connection::identities(bastion, &mut agent).await;
    match agent {
        AgentState::Absent => report.note("agent", "none".to_owned(), "keys come from files; `ssh-add` needs an agent"),
        AgentState::Reached(keys) => report.ok("agent", format!("holds {keys} keys")),
        AgentState::Unreachable(socket, error) => report.failed(
            "agent",
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

/// What is behind the bastion.
async fn inside(report: &mut Report, connection: &Connection) {
    let authority = match Authority::ask(connection).await {
        Ok(authority) => {
            report.ok("forwarding", format!("you are {} there", authority.user));
            authority
        }
        Err(failure) => {
            let (detail, cure) = failure.into_parts();
            report.note("forwarding", detail, &cure.unwrap_or_default());
            return;
        }
    };
    let name = &authority.devserver;
    match phase(connection, name).await {
        Some(phase) if phase == "Running" => {
            report.ok("DevServer", format!("{name} is running"));
            files(report, connection).await;
        }
        Some(phase) if phase == "Failed" => {
            report.failed("DevServer", format!("{name} failed"), &format!("`devctl why {name}` tells why"));
        }
        Some(phase) => report.note("DevServer", format!("{name} is {phase}"), "a login wakes it: `devctl ssh`"),
        None => report.note("DevServer", format!("{name} is not there"), "the first login makes it: `devctl ssh`"),
    }
}

/// Where the default DevServer is in its life. Asking must not wake it.
async fn phase(connection: &Connection, name: &str) -> Option<String> {
    let (status, text) = remote::ask(connection, &["list", "-o", "json"]).await.ok()?;
    let list: Value = serde_json::from_str(&text).ok().filter(|_| status == 0)?;
    let items = list.get("items").unwrap_or(&list).as_array()?;
    let devserver = items.iter().find(|item| item["metadata"]["name"] == name || item["name"] == name)?;
    let phase = devserver["status"]["phase"].as_str().or_else(|| devserver["phase"].as_str())?;
    Some(phase.to_owned())
}

/// Whether sftp, which scp, editors and mounts use, answers.
async fn files(report: &mut Report, connection: &Connection) {
    match greet_sftp(connection).await {
        Ok(true) => report.ok("sftp", "answers".to_owned()),
        Ok(false) => report.failed(
            "sftp",
            "does not answer".to_owned(),
            "the pod has no agent: ask your administrator to set operator.agent",
        ),
        Err(failure) => report.failure("sftp", failure),
    }
}

/// The first words of SFTP: our version, and theirs.
async fn greet_sftp(connection: &Connection) -> Result<bool, Failure> {
    const INIT: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    let mut channel = connection.handle.channel_open_session().await?;
    channel.request_subsystem(true, "sftp").await?;
    channel.data_bytes(INIT.to_vec()).await?;
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { .. } => {
                channel.close().await?;
                return Ok(true);
            }
            ChannelMsg::Failure | ChannelMsg::Close => break,
            _ => {}
        }
    }
    Ok(false)
}

/// What else there is on this machine.
fn programs(report: &mut Report, places: &Places) {
    match ssh_setup::is_enabled(places) {
        Ok(true) => match ssh_setup::missing(places).as_slice() {
            [] => report.ok("ssh NAME.dev", "enabled".to_owned()),
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
            report.note("OpenSSH", "not installed".to_owned(), "`devctl cp` and `devctl forward` need its ssh and scp");
        }
    }
}

impl Report {
    fn ok(&mut self, name: &'static str, detail: String) {
        self.checks.push(Check { name, state: State::Ok, detail, cure: None });
    }

    fn note(&mut self, name: &'static str, detail: String, cure: &str) {
        let cure = Some(cure.to_owned()).filter(|cure| !cure.is_empty());
        self.checks.push(Check { name, state: State::Note, detail, cure });
    }

    fn failed(&mut self, name: &'static str, detail: String, cure: &str) {
        self.checks.push(Check { name, state: State::Failed, detail, cure: Some(cure.to_owned()) });
    }

    fn failure(&mut self, name: &'static str, failure: Failure) {
        let (detail, cure) = failure.into_parts();
        self.checks.push(Check { name, state: State::Failed, detail, cure });
    }

    /// What a step gave; its detail is yet to be told.
    fn take<T>(&mut self, name: &'static str, result: Result<T, Failure>) -> Option<T> {
        match result {
            Ok(value) => {
                self.ok(name, String::new());
                Some(value)
            }
            Err(failure) => {
                self.failure(name, failure);
                None
            }
        }
    }

    fn detail(&mut self, detail: String) {
        if let Some(last) = self.checks.last_mut() {
            last.detail = detail;
        }
    }

    fn table(&self, colours: bool) -> String {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        let line = |check: &Check| {
            let (word, colour) = match check.state {
                State::Ok => ("ok", 32),
                State::Note => ("note", 33),
                State::Failed => ("failed", 31),
            };
            let mark = match colours {
                true => format!("\x1b[{colour}m{word:<6}\x1b[0m"),
                false => format!("{word:<6}"),
            };
            let indent = format!("\n{:width$}          ", "");
            let mut line = format!("{:width$}  {mark}  {}", check.name, check.detail.replace('\n', &indent));
            if let Some(cure) = &check.cure {
                line += &format!("{indent}{}", cure.replace('\n', &indent));
            }
            line + "\n"
        };
        self.checks.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lines_up() {
        let mut report = Report::default();
        report.ok("name", "x is 127.0.0.1".to_owned());
        report.failed("host key", "changed\nreally".to_owned(), "ask");
        let table = report.table(false);
        assert_eq!(
            table,
            "name      ok      x is 127.0.0.1\nhost key  failed  changed\n                  really\n                  ask\n"
        );
        assert!(report.table(true).contains("\x1b[31mfailed\x1b[0m"));
    }
}
