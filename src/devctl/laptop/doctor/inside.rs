//! What is behind the bastion: as far as it can be looked at without waking anything.

use std::time::Duration;

use russh::ChannelMsg;
use serde_json::Value;
use tokio::time::timeout;

use super::super::authority::Authority;
use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::remote;
use super::report::Report;

/// What is behind the bastion.
pub(super) async fn look(report: &mut Report, connection: &Connection) {
    clock(report, connection).await;
    let told = match Authority::ask(connection).await {
        Ok(authority) => {
            report.ok("forwarding", format!("you are {} there", authority.user));
            Some(authority.devserver)
        }
        Err(failure) => {
            let (detail, cure) = failure.into_parts();
            report.note("forwarding", detail, &cure.unwrap_or_default());
            ask(connection, &["complete", "default"]).await.map(|name| name.trim().to_owned())
        }
    };
    let Some(name) = told else {
        report.note("DevServer", "the bastion does not tell which is yours".to_owned(), "`devctl list` may tell more");
        return;
    };
    let Some((phase, message)) = phase(connection, &name).await else {
        report.note("DevServer", format!("{name} is not there"), "the first login makes it: `devctl ssh`");
        return;
    };
    let detail = match message.as_str() {
        "" => format!("{name} is {phase}"),
        message => format!("{name} is {phase}: {message}"),
    };
    let why = format!("`devctl why {name}` tells why, and what to do");
    match phase.as_str() {
        "Running" => {
            report.ok("DevServer", format!("{name} is running"));
            files(report, connection).await;
        }
        "Suspended" => report.note("DevServer", detail, "a login wakes it: `devctl ssh`"),
        "Failed" => report.failed("DevServer", detail, &why),
        _ => report.note("DevServer", detail, &why),
    }
}

/// Certificates, and times that are told, are worth nothing on a machine with a wrong clock.
async fn clock(report: &mut Report, connection: &Connection) {
    let there = ask(connection, &["complete", "clock"]).await;
    let Some(there) = there.and_then(|text| text.trim().parse::<i64>().ok()) else { return };
    match skew(jiff::Timestamp::now().as_second() - there) {
        None => report.ok("clock", "is the bastion's".to_owned()),
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

/// Where the default DevServer is in its life, and what it waits for. Asking must not wake it.
async fn phase(connection: &Connection, name: &str) -> Option<(String, String)> {
    let text = ask(connection, &["list", "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&text).ok()?;
    let devserver = list["items"].as_array()?.iter().find(|item| item["metadata"]["name"] == name)?;
    let text = |field: &str| devserver["status"][field].as_str().unwrap_or_default().to_owned();
    Some((
        Some(text("phase")).filter(|phase| !phase.is_empty()).unwrap_or_else(|| "Pending".to_owned()),
        text("message"),
    ))
}

async fn ask(connection: &Connection, words: &[&str]) -> Option<String> {
    let (status, text) = timeout(PATIENCE, remote::ask(connection, words)).await.ok()?.ok()?;
    (status == 0).then_some(text)
}

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether sftp, which scp, editors and mounts use, answers.
async fn files(report: &mut Report, connection: &Connection) {
    match timeout(PATIENCE, greet_sftp(connection)).await.unwrap_or(Ok(false)) {
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
    const VERSION: u8 = 2;
    let mut channel = connection.handle.channel_open_session().await?;
    channel.request_subsystem(true, "sftp").await?;
    channel.data_bytes(INIT.to_vec()).await?;
    while let Some(message) = channel.wait().await {
        match message {
            // It may be something else that answers, such as a command that the key allows alone.
            ChannelMsg::Data { data } => {
                channel.close().await?;
                return Ok(data.get(4) == Some(&VERSION));
            }
            ChannelMsg::Failure | ChannelMsg::Close => break,
            _ => {}
        }
    }
    Ok(false)
}

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
