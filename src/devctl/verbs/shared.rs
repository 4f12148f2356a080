//! `devctl list --shared`: what others share with her. It tells no more of them than a login does.

use serde_json::json;

use crate::api::names;
use crate::devctl::output::{self, Cell, Format, Table};
use crate::devctl::{Caller, Error};
use crate::workspace::Shared;

pub(super) async fn list(caller: &Caller, format: Format) -> Result<(), Error> {
    let Some(mut shared) = caller.beyond.shared() else {
        let why = "only the bastion knows what is shared with you: `ssh USER@BASTION devctl list --shared`";
        return Err(Error::failed(why));
    };
    if shared.is_empty() && format.is_table() {
        caller.say("Nothing is shared with you.").await;
        return Ok(());
    }
    shared.sort_by(|a, b| a.name.cmp(&b.name));
    let text = match format {
        Format::Table | Format::Wide => table(&shared).render(caller.columns(), caller.streams.colour),
        Format::Json => output::pretty(&objects(&shared))?,
        Format::Yaml => output::yaml(&objects(&shared))?,
        Format::Name => shared.iter().map(|server| format!("{}\n", server.name)).collect(),
    };
    caller.print(&text).await;
    if format.is_table() {
        let user = names::user_of(&caller.namespace).unwrap_or_default();
        for line in ways(&shared, user) {
            caller.say(&line).await;
        }
    }
    Ok(())
}

/// Below her own: that there are others.
pub(super) async fn mention(caller: &Caller) {
    let count = caller.beyond.shared().unwrap_or_default().len();
    if count > 0 {
        caller.say(&format!("Shared with you: {count}; `devctl list --shared` lists them.")).await;
    }
}

fn table(shared: &[Shared]) -> Table {
    let mut table = Table::new(&["NAME", "OWNER", "ACCESS", "STATUS"]);
    for Shared { name, owner, read_only, phase } in shared {
        let access = if *read_only { "look" } else { "work" };
        let status = Cell::phase(&format!("{phase:?}"), *phase);
        table.row(vec![name.as_str().into(), owner.as_str().into(), access.into(), status]);
    }
    table
}

fn objects(shared: &[Shared]) -> serde_json::Value {
    let object = |server: &Shared| {
        let Shared { name, owner, read_only, phase } = server;
        json!({"name": name, "owner": owner, "readOnly": read_only, "phase": phase})
    };
    json!({"shared": shared.iter().map(object).collect::<Vec<_>>()})
}

/// How they are entered: `ssh NAME.dev` leads to her own alone.
fn ways(shared: &[Shared], user: &str) -> Vec<String> {
    let work = shared.iter().any(|server| !server.read_only);
    let look = shared.iter().any(|server| server.read_only);
    let work = work.then(|| {
        format!(
            "To work in one: `ssh {user}+NAME@BASTION` (scp and editors: host `{user}+NAME@BASTION`), or `devctl ssh \
             NAME` on your laptop."
        )
    });
    let look = look.then(|| format!("To look at the shells of one: `ssh -t {user}+NAME@BASTION shells`."));
    [work, look].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Phase;

    fn shared(name: &str, read_only: bool) -> Shared {
        Shared { name: format!("{name}.alice"), owner: "alice".to_owned(), read_only, phase: Phase::Running }
    }

    #[test]
    fn it_says_what_she_may_do_there() {
        let shared = [shared("dev", false), shared("lab", true)];
        assert_eq!(
            table(&shared).render(None, false),
            "NAME        OWNER   ACCESS   STATUS\n\
             dev.alice   alice   work     Running\n\
             lab.alice   alice   look     Running\n"
        );
        let object = json!({"name": "lab.alice", "owner": "alice", "readOnly": true, "phase": "Running"});
        assert_eq!(objects(&shared)["shared"][1], object);
    }

    #[test]
    fn it_says_how_to_get_there_where_she_may() {
        let both = [shared("dev", false), shared("lab", true)];
        let ways = |shared: &[Shared]| super::ways(shared, "bob").join("\n");
        assert!(
            ways(&both).contains("ssh bob+NAME@BASTION`") && ways(&both).contains("ssh -t bob+NAME@BASTION shells")
        );
        assert!(!ways(&both[..1]).contains("shells") && !ways(&both[1..]).contains("To work"));
    }
}
