//! What the bastion knows, asked while somebody has a finger on the key: quickly, and without a word where it fails.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::super::bastion::Bastion;
use super::super::connection::{self, Connection};
use super::super::host_key::Unknown;
use super::super::places::Places;
use super::super::settings::Settings;
use super::super::sftp::{Sftp, Wrong};
use super::super::{openssh, remote};
use crate::agent::sftp_wire::Attributes;

/// Somebody waits with a finger on the key.
const LIMIT: Duration = Duration::from_secs(3);

/// Names, one a line. None: there is no way to tell without a question.
pub(super) fn names(kind: &str) -> Option<String> {
    let bastion = bastion()?;
    within_limit(async {
        let connection = connection::open(&bastion, Unknown::Refuse).await.ok()?;
        answer(&connection, &["complete", kind]).await
    })
}

/// The paths in DevServer `name`, the default one where it is empty, that begin so, folders with a slash behind. None
/// of one that sleeps: it is not woken for this. By SFTP, for no command of hers is to be run, and no news told to
/// nobody.
pub(super) fn paths(name: &str, begun: &str) -> Option<Vec<String>> {
    let bastion = bastion()?;
    let login = openssh::login(&bastion, Some(name).filter(|name| !name.is_empty())).ok()?;
    let work = async {
        // A login alone wakes nothing.
        let connection = connection::open(&Bastion { login, ..bastion }, Unknown::Refuse).await.ok()?;
        let running = answer(&connection, &["complete", "running"]).await?;
        let name = match name {
            "" => remote::who(&connection).await?.dev_server?,
            name => name.to_owned(),
        };
        if !running.lines().any(|one| one == name) {
            return None;
        }
        list(&Sftp::start(&connection, true).await.ok()?, begun).await.ok()
    };
    within_limit(work)
}

/// More are not offered.
const MOST: usize = 500;

/// As a shell has it: what begins with a dot only for whoever typed the dot.
async fn list(sftp: &Sftp, begun: &str) -> Result<Vec<String>, Wrong> {
    let (folder, begun) = begun.split_at(begun.rfind('/').map_or(0, |slash| slash + 1));
    let names = sftp.list(Path::new(if folder.is_empty() { "." } else { folder })).await?;
    let names = names.into_iter().filter_map(|(name, attributes)| Some((name.into_string().ok()?, attributes)));
    let is_meant = |name: &str| name.starts_with(begun) && (begun.starts_with('.') || !name.starts_with('.'));
    let is_name = |name: &str| name != "." && name != ".." && !name.contains('/');
    let mut names: Vec<_> = names.filter(|(name, _)| is_name(name) && is_meant(name)).collect();
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    names.truncate(MOST);
    let mut asked = Vec::new();
    for (name, attributes) in names {
        let path = format!("{folder}{name}");
        let target = match has_type(&attributes, LINK) {
            true => Some(sftp.ask_stat(Path::new(&path)).await?),
            false => None,
        };
        asked.push((path, attributes, target));
    }
    let mut paths = Vec::new();
    for (mut path, attributes, target) in asked {
        let attributes = match target {
            // One that leads nowhere is offered as it is.
            Some(target) => target.attributes().await.unwrap_or(attributes),
            None => attributes,
        };
        if has_type(&attributes, FOLDER) {
            path.push('/');
        }
        paths.push(path);
    }
    Ok(paths)
}

/// The type of a file, of stat(2).
const LINK: u32 = 0o120_000;
const FOLDER: u32 = 0o040_000;

fn has_type(attributes: &Attributes, kind: u32) -> bool {
    attributes.permissions.is_some_and(|mode| mode & 0o170_000 == kind)
}

fn bastion() -> Option<Bastion> {
    let places = Places::find().ok()?;
    Some(Bastion { quiet: true, ..Bastion::of(&Settings::load(&places).ok()?, &places).ok()? })
}

fn within_limit<T>(work: impl Future<Output = Option<T>>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime.block_on(async { timeout(LIMIT, work).await.ok().flatten() });
    // A name that does not resolve is looked up in a thread that cannot be told to stop.
    runtime.shutdown_background();
    answer
}

async fn answer(connection: &Connection, words: &[&str]) -> Option<String> {
    let answer = remote::ask(connection, words).await.ok()?;
    (answer.status == 0).then_some(answer.text)
}
