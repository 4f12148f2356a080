//! What the bastion knows, asked while somebody has a finger on the key: quickly, and without a word where it fails.

use std::time::Duration;

use tokio::time::timeout;

use super::super::bastion::Bastion;
use super::super::connection::{self, Connection};
use super::super::host_key::Unknown;
use super::super::places::Places;
use super::super::remote;
use super::super::settings::Settings;

/// Somebody waits with a finger on the key.
const LIMIT: Duration = Duration::from_secs(3);

/// Names, one a line. None: there is no way to tell without a question.
pub(super) fn names(kind: &str) -> Option<String> {
    with_bastion(async |connection| answer(connection, &["complete", kind]).await)
}

/// The paths in DevServer `name`, the default one where it is empty, that begin so: one a line, folders with a slash behind.
/// None of one that sleeps: it is not woken for this.
pub(super) fn paths(name: &str, begun: &str) -> Option<String> {
    with_bastion(async |connection| {
        let running = answer(connection, &["complete", "running"]).await?;
        let name = match name {
            "" => answer(connection, &["complete", "default"]).await?.trim().to_owned(),
            name => name.to_owned(),
        };
        if !running.lines().any(|one| one == name) {
            return None;
        }
        answer(connection, &["exec", &name, "--", "/bin/sh", "-c", LIST, "sh", begun]).await
    })
}

/// Whatever shell the image has, it knows this much.
const LIST: &str = r#"n=0
for f in "$1"*; do
  [ -e "$f" ] || [ -L "$f" ] || continue
  if [ -d "$f" ]; then f=$f/; fi
  printf '%s\n' "$f"
  n=$((n + 1))
  [ "$n" -lt 500 ] || break
done"#;

fn with_bastion(ask: impl AsyncFnOnce(&Connection) -> Option<String>) -> Option<String> {
    let places = Places::find().ok()?;
    let bastion = Bastion { quiet: true, ..Bastion::of(&Settings::load(&places).ok()?, &places).ok()? };
    let work = async {
        let connection = connection::open(&bastion, Unknown::Refuse).await.ok()?;
        ask(&connection).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime.block_on(async { timeout(LIMIT, work).await.ok().flatten() });
    // A name that does not resolve is looked up in a thread that cannot be told to stop.
    runtime.shutdown_background();
    answer
}

async fn answer(connection: &Connection, words: &[&str]) -> Option<String> {
    let (status, text) = remote::ask(connection, words).await.ok()?;
    (status == 0).then_some(text)
}
