//! What is behind the bastion: as far as it can be looked at without waking anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::keys::Certificate;
use serde_json::Value;
use tokio::time::timeout;

use super::super::authority::Authority;
use super::super::bastion::Bastion;
use super::super::connection::{self, Connection};
use super::super::failure::Failure;
use super::super::host_key::Unknown;
use super::super::known_hosts::{KnownHosts, Verdict};
use super::super::places::Places;
use super::super::remote::{self, Answer};
use super::super::sftp::Sftp;
use super::super::{openssh, ssh_setup};
use super::report::Report;

/// The way from the bastion to a DevServer.
pub(super) struct Inside<'a> {
    pub(super) report: &'a mut Report,
    pub(super) connection: &'a Connection,
    pub(super) bastion: &'a Bastion,
    pub(super) places: &'a Places,
    /// As it was asked for; none for the default one.
    pub(super) name: Option<&'a str>,
}

/// Where a DevServer is in its life, and what it waits for.
struct Life {
    phase: String,
    message: String,
}

impl Inside<'_> {
    pub(super) async fn look(mut self) {
        let who = timeout(PATIENCE, remote::who(self.connection)).await.ok().flatten();
        if let Some(who) = &who {
            clock(self.report, who.time);
        }
        let authority = match Authority::ask(self.connection).await {
            Ok(authority) => {
                self.report.ok("forwarding", format!("allowed; your user name is {}", authority.user));
                Some(authority)
            }
            Err(failure) => {
                let (detail, cure) = failure.into_parts();
                self.report.note("forwarding", detail, &cure.unwrap_or_default());
                None
            }
        };
        let default = match &authority {
            Some(authority) => Some(authority.devserver.clone()),
            None => who.and_then(|who| who.dev_server),
        };
        let Some(name) = self.name.map(str::to_owned).or(default) else {
            let detail = "the bastion does not tell which is yours".to_owned();
            return self.report.note("DevServer", detail, "`devctl list` may tell more");
        };
        let Some(life) = self.life(&name).await else { return };
        if let Some(authority) = &authority {
            self.inner_server(authority, &name).await;
        }
        if self.is_running(&name, life) {
            self.pod(&name).await;
        }
    }

    /// Asks the cluster by way of the bastion. Asking must not wake anything.
    async fn life(&mut self, name: &str) -> Option<Life> {
        let listed = timeout(PATIENCE, remote::ask(self.connection, &["list", "-o", "json"])).await;
        let listed = match listed {
            Ok(Ok(Answer { status: 0, text, .. })) => serde_json::from_str::<Value>(&text).ok(),
            Ok(Ok(Answer { said, .. })) => {
                let said = said.trim().trim_start_matches("devctl: ").to_owned();
                self.report.failed("API server", said, ADMINISTRATOR);
                return None;
            }
            Ok(Err(failure)) => {
                self.report.failure("API server", failure);
                return None;
            }
            Err(_) => {
                self.report.failed("API server", format!("no answer within {} s", PATIENCE.as_secs()), ADMINISTRATOR);
                return None;
            }
        };
        self.report.ok("API server", "answers".to_owned());
        let items = listed.as_ref().and_then(|list| list["items"].as_array());
        let devserver = items.into_iter().flatten().find(|item| item["metadata"]["name"] == name);
        let life = match devserver {
            Some(devserver) => Some(Life::of(devserver)),
            None if name.contains('.') => self.life_of_shared(name).await,
            None => None,
        };
        if life.is_none() {
            match self.name {
                Some(_) => {
                    let detail = format!("you have no DevServer {name}");
                    self.report.failed("DevServer", detail, "`devctl list` tells which you have");
                }
                None => {
                    let detail = format!("{name} is not there");
                    self.report.note("DevServer", detail, "the first login makes it: `devctl ssh`");
                }
            }
        }
        life
    }

    /// Of somebody else's, the bastion tells no more than this.
    async fn life_of_shared(&self, name: &str) -> Option<Life> {
        let mut phase = None;
        for (kind, word) in [("enterable", "not running"), ("running", "Running")] {
            let names = ask(self.connection, &["complete", kind]).await?;
            if names.lines().any(|one| one == name) {
                phase = Some(word.to_owned());
            }
        }
        phase.map(|phase| Life { phase, message: String::new() })
    }

    /// The server that `ssh -J` and `ssh NAME.dev` meet behind the bastion, and whether OpenSSH is going to know it.
    async fn inner_server(&mut self, authority: &Authority, name: &str) {
        let certificate = match Authority::show(self.connection, name).await {
            Ok(certificate) => certificate,
            Err(failure) => return self.report.failure("inner server", failure),
        };
        let is_enabled = ssh_setup::is_enabled(self.places).unwrap_or(false);
        // Those of others go by no such name.
        if !is_enabled || name.contains('.') || !ssh_setup::missing(self.places).is_empty() {
            return self.report.ok("inner server", format!("shows a certificate for {name}"));
        }
        match verdict(self.places, certificate, &format!("{name}.dev.{}", authority.user)) {
            Ok(Verdict::Known) => {
                self.report.ok("inner server", format!("shows a certificate for {name}, which OpenSSH knows"));
            }
            Ok(_) => {
                let file = self.places.shorten(&self.places.known_hosts());
                let detail = format!("OpenSSH will not know it: {file} has another authority than the bastion");
                let cure = "the bastion was given another host key, or you another bastion: `devctl config ssh enable`";
                self.report.failed("inner server", detail, cure);
            }
            Err(failure) => self.report.failure("inner server", failure),
        }
    }

    fn is_running(&mut self, name: &str, Life { phase, message }: Life) -> bool {
        let detail = match message.as_str() {
            "" => format!("{name} is {phase}"),
            message => format!("{name} is {phase}: {message}"),
        };
        let why = format!("`devctl why {name}` tells why, and what to do");
        match phase.as_str() {
            "Running" => self.report.ok("DevServer", format!("{name} is running")),
            "Suspended" | "not running" => {
                let wake = self.name.map_or_else(|| "devctl ssh".to_owned(), |name| format!("devctl ssh {name}"));
                self.report.note("DevServer", detail, &format!("a login resumes it: `{wake}`"));
            }
            "Failed" => self.report.failed("DevServer", detail, &why),
            _ => self.report.note("DevServer", detail, &why),
        }
        phase == "Running"
    }

    /// Whether the pod can be entered, and its agent gives files, which runs nothing there that anybody would notice.
    async fn pod(&mut self, name: &str) {
        match timeout(PATIENCE, self.files()).await {
            Ok(Ok(())) => self.report.ok("pod", "can be entered; sftp answers".to_owned()),
            Ok(Err(failure)) => {
                let (detail, _) = failure.into_parts();
                let detail = detail.trim_start_matches("bastion: ").to_owned();
                let cure = match () {
                    () if detail.contains("no agent") => {
                        format!("then `devctl suspend {name}` and `devctl resume {name}` make a pod that has one")
                    }
                    () if detail.contains("the cluster") => ADMINISTRATOR.to_owned(),
                    () => format!(
                        "`devctl why {name}`; `devctl suspend {name}` and `devctl resume {name}` make a new pod"
                    ),
                };
                self.report.failed("pod", detail, &cure);
            }
            Err(_) => {
                let detail = format!("no answer within {} s", PATIENCE.as_secs());
                self.report.failed("pod", detail, &format!("its node may be gone: `devctl why {name}`"));
            }
        }
    }

    async fn files(&self) -> Result<(), Failure> {
        let Some(name) = self.name else { return Sftp::start(self.connection, true).await.map(drop) };
        let login = openssh::login(self.bastion, Some(name))?;
        let bastion = Bastion { login, quiet: true, ..self.bastion.clone() };
        let connection = connection::open(&bastion, Unknown::Refuse).await?;
        Sftp::start(&connection, true).await.map(drop)
    }
}

impl Life {
    fn of(devserver: &Value) -> Self {
        let text = |field: &str| devserver["status"][field].as_str().unwrap_or_default().to_owned();
        let phase = Some(text("phase")).filter(|phase| !phase.is_empty());
        Self { phase: phase.unwrap_or_else(|| "Pending".to_owned()), message: text("message") }
    }
}

/// What OpenSSH makes of it, with the file that devctl wrote.
fn verdict(places: &Places, certificate: Certificate, host: &str) -> Result<Verdict, Failure> {
    const SSH: u16 = 22;
    let known = KnownHosts::load(&[places.known_hosts()], host, SSH)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(known.judge(&certificate.into(), host, now))
}

const ADMINISTRATOR: &str = "that is between the bastion and its cluster: ask your administrator";

/// Certificates, and times that are told, are worth nothing on a machine with a wrong clock.
fn clock(report: &mut Report, there: jiff::Timestamp) {
    match skew(jiff::Timestamp::now().as_second() - there.as_second()) {
        None => report.ok("clock", "agrees with the bastion's".to_owned()),
        Some(skew) => report.note("clock", skew, "set it right (`timedatectl`): certificates are good for a time only"),
    }
}

/// None: nobody notices.
fn skew(seconds: i64) -> Option<String> {
    let (size, way) = (seconds.unsigned_abs(), if seconds > 0 { "ahead of" } else { "behind" });
    let length = match size {
        0..60 => return None,
        60..120 => "a minute".to_owned(),
        120..7_200 => format!("{} minutes", size / 60),
        _ => format!("{} hours", size / 3_600),
    };
    Some(format!("this machine is {length} {way} the bastion"))
}

async fn ask(connection: &Connection, words: &[&str]) -> Option<String> {
    let answer = timeout(PATIENCE, remote::ask(connection, words)).await.ok()?.ok()?;
    (answer.status == 0).then_some(answer.text)
}

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_by_a_minute_or_more() {
        assert_eq!([skew(0), skew(-59)], [None, None]);
        assert_eq!(skew(60).unwrap(), "this machine is a minute ahead of the bastion");
        assert_eq!(skew(-86_400).unwrap(), "this machine is 24 hours behind the bastion");
    }
}
